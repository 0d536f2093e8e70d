"""Files that others made, beside this package's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from devices.pooled_packages import core_package
from foreign_files import (
    CLASSES,
    LABELS,
    MEAN,
    SIZE,
    STD,
    Variant,
    changed,
    write_classifier,
    write_timm,
)
from private import private_python

from edgenext import api
from edgenext.errors import ArtifactError, DataError, EdgenextError, UsageError
from edgenext.formats.artifact import Artifact, manifest_path, open_artifact
from edgenext.formats.isolated_session import open_isolated
from edgenext.formats.session import logits
from edgenext.options import (
    AdoptOptions,
    BenchOptions,
    DataOptions,
    ExportOptions,
    ModelOptions,
    QuantizeOptions,
)

NORMALISED = AdoptOptions(mean=MEAN, std=STD)
DATA = DataOptions("digits", limit=20)
XXS = ModelOptions(random_weights=True, num_classes=CLASSES, size=64)


def images(n: int = 5, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (n, size, size, 3), np.uint8)


def answers(artifact: Artifact, size: int = SIZE) -> np.ndarray:
    """Logits up to a constant of each image, N×K."""
    values = np.concatenate(list(logits(open_isolated(artifact, 1), images(size=size))))
    return values - values.mean(1, keepdims=True)


VARIANTS = {
    "channels last, a softmax": (Variant(last=True, softmax=True), NORMALISED),
    "any size and batch": (
        Variant(batch="n", free_size=True),
        AdoptOptions(size=SIZE, mean=MEAN, std=STD),
    ),
    "K maps of 1x1, another output": (
        Variant(spatial=True, second_output=True),
        AdoptOptions(mean=MEAN, std=STD, output="reshape5"),
    ),
    "bytes": (Variant(dtype="uint8"), AdoptOptions()),
    "bytes, channels last": (Variant(dtype="uint8", last=True), AdoptOptions()),
    "float16, four images": (Variant(dtype="float16", batch=4), NORMALISED),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The network as N×3×H×W float32 to logits."""
    return api.adopt(write_classifier(tmp_path_factory.mktemp("plain") / "plain.onnx"), NORMALISED)


@pytest.fixture(scope="module")
def expected(plain: Artifact) -> np.ndarray:
    return answers(plain)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_network_gives_the_same_logits_however_it_is_written(
    tmp_path: Path, expected: np.ndarray, name: str
) -> None:
    """Measured: 3e-6 of logits of 5, and 0.003 in float16."""
    variant, options = VARIANTS[name]
    artifact = api.adopt(write_classifier(tmp_path / "it.onnx", variant), options)
    bound = 0.01 if variant.dtype == "float16" else 2e-5
    assert expected.std() > 0.5
    np.testing.assert_allclose(answers(artifact), expected, atol=bound)
    assert artifact.manifest.gives_probabilities == variant.softmax
    assert open_artifact(artifact.path).manifest == artifact.manifest


@pytest.mark.parametrize("name", list(VARIANTS)[:3])
def test_baselines_quantize_it_whatever_its_input_and_output(tmp_path: Path, name: str) -> None:
    """Measured: 31 to 36 dB."""
    variant, options = VARIANTS[name]
    artifact = api.adopt(write_classifier(tmp_path / "it.onnx", variant), options)
    quantized = api.quantize(
        artifact.path,
        QuantizeOptions(calib="digits", n=8, engine="onnxruntime-tuned"),
        export_options=ExportOptions(batch=None if variant.batch == "n" else 1),
        out=tmp_path,
    )
    parity = quantized.manifest.parity
    assert parity and parity.sqnr_db > 24, parity
    assert quantized.manifest.adopted and not quantized.manifest.gives_probabilities
    assert not quantized.manifest.sites and quantized.manifest.outputs[0].name == "logits"


def test_quantizers_start_from_float_files(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "it.onnx", Variant(dtype="float16"))
    artifact = api.adopt(path, NORMALISED)
    assert artifact.manifest.scheme == "fp16"
    with pytest.raises(ArtifactError, match="start from ONNX in fp32"):
        api.quantize(path, QuantizeOptions(calib="digits", n=8, engine="onnxruntime-tuned"))


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    """What is in the metadata is not asked for, and what contradicts it is refused."""
    metadata = {
        "labels": json.dumps(LABELS),
        "mean_values": ",".join(f"{255 * m:.4f}" for m in MEAN),
        "scale_values": ",".join(f"{255 * s:.4f}" for s in STD),
    }
    path = write_classifier(tmp_path / "it.onnx", **metadata)
    manifest = api.adopt(path).manifest
    assert manifest.labels == LABELS and manifest.opset == 17
    np.testing.assert_allclose(manifest.eval.mean, MEAN, atol=1e-6)
    np.testing.assert_allclose(manifest.eval.std, STD, atol=1e-6)
    assert manifest.adopted and manifest.adopted.producer == "theirs"
    facts = manifest.adopted.facts
    assert {facts[name] for name in ("labels", "mean", "std", "size")} == {"file"}
    assert facts["crop-pct"] == facts["interpolation"] == "default"
    same = AdoptOptions(size=SIZE, mean=MEAN, std=STD, crop_pct=1, interpolation="bilinear")
    again = api.adopt(path, same).manifest
    assert again.eval.crop_pct == 1 and again.adopted and again.adopted.facts["mean"] == "option"
    with pytest.raises(UsageError) as caught:
        api.adopt(path, AdoptOptions(size=64, mean=(0.1,), std=STD))
    assert "32 px, not --size 64" in caught.value.message and "not that of --mean" in str(
        caught.value
    )
    assert open_artifact(path).manifest == again


def labels_file(folder: Path, labels: tuple[str, ...]) -> Path:
    path = folder / "labels.txt"
    path.write_text("".join(f"{label}\n" for label in labels))
    return path


def test_labels_name_the_outputs(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "it.onnx")
    with pytest.raises(DataError, match=r"has 9 labels for 10 outputs"):
        api.adopt(path, AdoptOptions(mean=MEAN, std=STD, labels=labels_file(tmp_path, LABELS[:9])))
    assert not manifest_path(path).exists()
    options = AdoptOptions(mean=MEAN, std=STD, labels=labels_file(tmp_path, LABELS))
    assert api.adopt(path, options).manifest.labels == LABELS
    named = write_classifier(tmp_path / "named.onnx", names=str(dict(enumerate(LABELS[::-1]))))
    with pytest.raises(DataError, match="in another order"):
        api.adopt(named, options)


def test_classes_in_another_order_are_compared_by_their_labels(tmp_path: Path) -> None:
    """Outputs in reverse, one of no digit before them: the same answers, class by class."""
    digits = tuple(map(str, range(CLASSES)))

    def reverse(model: onnx.ModelProto) -> None:
        (head,) = (t for t in model.graph.initializer if t.name == "head")
        weights = onnx.numpy_helper.to_array(head)[:, ::-1]
        more = np.concatenate([weights[:, :1] * 0 - 1, weights], 1)
        head.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(more), "head"))
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = CLASSES + 1

    files = []
    for name, labels in (("plain", digits), ("reversed", ("background", *digits[::-1]))):
        path = write_classifier(tmp_path / f"{name}.onnx")
        if name == "reversed":
            changed(path, reverse)
        options = AdoptOptions(mean=MEAN, std=STD, labels=labels_file(tmp_path, labels))
        files.append(api.adopt(path, options).path)
    (other,) = api.compare(files[0], files[1:], DATA).others
    assert other.agreement == 100 and other.sqnr_db > 100  # measured: 137 dB
    with pytest.raises(DataError, match="has no class 'background'"):
        api.compare(files[1], files[:1], DATA)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A MobileNetV3 of timm, adopted."""
    pytest.importorskip("timm", reason="no timm (pip install 'edgenext[train]')")
    path = write_timm(tmp_path_factory.mktemp("timm") / "mobilenet.onnx")
    imagenet = AdoptOptions(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return api.adopt(path, imagenet)


@pytest.mark.slow
def test_a_network_of_timm_beside_ours_in_one_report(theirs: Artifact, tmp_path: Path) -> None:
    ours = api.quantize(
        "edgenext_xx_small", QuantizeOptions(calib="digits", n=16), XXS, out=tmp_path
    )
    tuned = QuantizeOptions(calib="digits", n=16, engine="onnxruntime-tuned")
    quantized = api.quantize(theirs.path, tuned, out=tmp_path)
    files = [theirs.path, ours.path, quantized.path]
    report = api.bench(files, data=DATA, bench_options=BenchOptions(rounds=1))
    assert [result.scheme for result in report.results] == ["fp32", "w8a8-static", "w8a8-static"]
    assert all(result.p50_ms and result.p50_ms > 0 for result in report.results)
    assert report.results[0].arch == "" and report.results[1].arch == "edgenext_xx_small"
    assert report.eval and [result.n for result in report.eval.results] == [20] * 3
    assert report.compare
    db = {other.artifact: other.sqnr_db for other in report.compare.others}
    assert db[quantized.name] > 12, db  # measured: 18.5
    assert db[ours.name] < 0, "another network"
    # what runs it here is what the file is: torch's own answers are those of the session
    top = api.predict(theirs.path, [str(png(tmp_path))], top=2)
    assert sum(score.probability for score in top.images[0].classes) < 1
    assert api.profile(theirs.path, n=2).rows
    assert api.verify(theirs.path).hashes == 2


def png(folder: Path) -> Path:
    from PIL import Image

    path = folder / "photo.png"
    Image.fromarray(images(1, 80)[0]).save(path)
    return path


CALLS: dict[str, Callable[[Path], object]] = {
    "diff": lambda path: api.diff(path, path, DATA),
    "sensitivity": lambda path: api.sensitivity(path, QuantizeOptions(calib="digits", n=8)),
    "search": lambda path: api.search(path, DATA, QuantizeOptions(calib="digits", n=8)),
    "--engine edgenext": lambda path: api.quantize(path, QuantizeOptions(calib="digits", n=8)),
    "--engine onnxruntime-folded": lambda path: api.quantize(
        path, QuantizeOptions(calib="digits", n=8, engine="onnxruntime-folded")
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_needs_sites_refuses_it(tmp_path: Path, name: str) -> None:
    path = api.adopt(write_classifier(tmp_path / "it.onnx"), NORMALISED).path
    with pytest.raises(EdgenextError, match=f"is not of this package: {name} needs") as caught:
        CALLS[name](path)
    assert caught.value.remedy.startswith("Use ")


def test_an_adopted_file_is_verified_and_not_made_again(tmp_path: Path) -> None:
    path = api.adopt(write_classifier(tmp_path / "it.onnx"), NORMALISED).path
    with pytest.raises(ArtifactError, match="was not made by this package"):
        api.verify(path, rebuild=True)
    path.write_bytes(path.read_bytes().replace(b"theirs", b"others"))
    assert [problem.problem for problem in api.verify(path).problems] == ["was changed"]
    with pytest.raises(ArtifactError, match="is not the file of its manifest"):
        open_artifact(path)
    assert api.adopt(path, NORMALISED).manifest.sha256 == open_artifact(path).manifest.sha256


def test_a_file_of_this_package_is_not_adopted(make_artifact: Callable[..., Artifact]) -> None:
    artifact = make_artifact()
    before = manifest_path(artifact.path).read_bytes()
    with pytest.raises(ArtifactError, match="has a manifest of edgenext already"):
        api.adopt(artifact.path, NORMALISED)
    assert manifest_path(artifact.path).read_bytes() == before


PACKAGES = {"openvino": "openvino", "tflite": "ai_edge_litert", "coreml": "coremltools"}


@pytest.mark.slow
@pytest.mark.parametrize("format_", PACKAGES)
def test_every_format_is_adopted_as_it_was_exported(tmp_path: Path, format_: str) -> None:
    """Its manifests away, it is adopted again: the same input and the same logits."""
    package = PACKAGES[format_]
    pytest.importorskip(package, reason=f"no {package} (pip install 'edgenext[{format_}]')")
    if format_ == "tflite":
        private_python("tflite")
    if format_ == "coreml":
        artifact = core_package(tmp_path, "it", 0)
    else:
        model = ModelOptions(random_weights=True, num_classes=10, size=32)
        options = ExportOptions(format=format_)
        artifact = api.export("edgenext_xx_small", model, options, out=tmp_path)
    own = artifact.manifest.eval
    expected = answers(artifact, own.size)
    manifest_path(artifact.path).unlink()
    if artifact.path.is_file():
        with pytest.raises(ArtifactError, match="has a manifest of edgenext already"):
            api.adopt(artifact.path)  # inside
        artifact.path.write_bytes(artifact.path.read_bytes().replace(b"edgenext", b"theirown"))
    given = AdoptOptions(mean=own.mean, std=own.std)
    if format_ == "tflite":
        given = AdoptOptions()  # its metadata has them, as float32 of 0 to 255
    adopted = api.adopt(artifact.path, given).manifest
    assert adopted.format == format_ and adopted.scheme == "fp32"
    assert adopted.input.shape == artifact.manifest.input.shape
    np.testing.assert_allclose(adopted.eval.mean, own.mean, atol=1e-7)
    np.testing.assert_allclose(answers(open_artifact(artifact.path), own.size), expected, atol=1e-4)


def set_shape(port: str, *sides: int) -> Callable[[onnx.ModelProto], None]:
    """Declares another shape; the graph then computes what is inside, or cannot be loaded."""

    def change(model: onnx.ModelProto) -> None:
        value = getattr(model.graph, port)[0]
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, kind, sides))

    return change


def segment(model: onnx.ModelProto) -> None:
    """The maps before the mean are the output."""
    conv = next(node for node in model.graph.node if node.op_type == "Relu")
    value = onnx.helper.make_tensor_value_info(conv.output[0], 1, [1, 6, SIZE, SIZE])
    model.graph.output[0].CopyFrom(value)


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("other", 1, [1, 3, SIZE, SIZE]))


def nan_weights(model: onnx.ModelProto) -> None:
    (head,) = (t for t in model.graph.initializer if t.name == "head")
    broken = np.full_like(onnx.numpy_helper.to_array(head), np.nan)
    head.CopyFrom(onnx.numpy_helper.from_array(broken, "head"))


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    tensor.ClearField("raw_data")


def new_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def nothing(model: onnx.ModelProto) -> None: ...


BAD: dict[str, tuple[Callable[[onnx.ModelProto], None], AdoptOptions, str]] = {
    "wrong rank": (set_shape("input", 1, 3072), NORMALISED, "not valid"),
    "a segmentation": (segment, NORMALISED, "not N×K, a score for each of K classes"),
    "two inputs": (second_input, NORMALISED, "it has 2 inputs"),
    "NaN weights": (nan_weights, NORMALISED, "gives NaN or infinity"),
    "weights elsewhere": (external, NORMALISED, "its weights are in other files"),
    "an opset of the future": (new_opset, NORMALISED, "opset|cannot"),
    "negative std": (nothing, AdoptOptions(mean=MEAN, std=(-0.2,)), "--std -0.2 is not of pixels"),
    "std of 0": (nothing, AdoptOptions(mean=MEAN, std=(0.1, 0.0, 0.1)), "--std 0.1,0,0.1 is not"),
    "a mean of bytes": (nothing, AdoptOptions(mean=(127.5,), std=STD), "divide by 255"),
    "two means": (nothing, AdoptOptions(mean=(0.1, 0.2), std=STD), "one number or three"),
    "NaN mean": (nothing, AdoptOptions(mean=(float("nan"),), std=STD), "--mean nan"),
    "nothing given": (nothing, AdoptOptions(), "Give --mean, --std"),
    "a size of its own": (
        nothing,
        AdoptOptions(size=64, mean=MEAN, std=STD),
        "takes images of 32 px",
    ),
    "no size": (nothing, AdoptOptions(size=0, mean=MEAN, std=STD), "no size of an image"),
    "a crop of 0": (nothing, AdoptOptions(mean=MEAN, std=STD, crop_pct=0), "not a share"),
    "a sharp resize": (
        nothing,
        AdoptOptions(mean=MEAN, std=STD, interpolation="bicubig"),
        "bicubic",
    ),
    "no such output": (nothing, AdoptOptions(mean=MEAN, std=STD, output="matmul"), "matmul4"),
    "no such labels": (nothing, AdoptOptions(mean=MEAN, std=STD, labels=Path("none")), "none"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_classifier_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    change, options, text = BAD[name]
    path = changed(write_classifier(tmp_path / "it.onnx"), change)
    with pytest.raises(EdgenextError, match=text) as caught:
        api.adopt(path, options)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["it.onnx"]


def test_all_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    variant = Variant(free_size=True, second_output=True)
    path = write_classifier(tmp_path / "it.onnx", variant)
    with pytest.raises(UsageError) as caught:
        api.adopt(path)
    named = [
        option
        for option in ("--size", "--mean", "--std", "--output")
        if option in str(caught.value)
    ]
    assert len(named) == 4, caught.value


@pytest.mark.parametrize("name", ["none.onnx", "text.onnx", "folder", "photo.png"])
def test_other_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name == "photo.png":
        png(tmp_path)
    elif name != "none.onnx":
        path.write_text("a text")
    with pytest.raises(ArtifactError):
        api.adopt(path, NORMALISED)
    assert not manifest_path(path).exists()
