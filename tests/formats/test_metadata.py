"""What a file says of itself, as each ecosystem's own reader reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from private import private_python

from edgenext import api
from edgenext.errors import ArtifactError
from edgenext.formats.artifact import Artifact, manifest_path, open_artifact
from edgenext.formats.embedded import KEY, OUTSIDE
from edgenext.formats.onnx import metadata
from edgenext.formats.openvino.session import core
from edgenext.models.random_weights import random_state
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.schema import IMAGENET_MEAN, IMAGENET_STD
from edgenext.system.files import sha256_file

XXS = "edgenext_xx_small"
NAMES = (
    *("tench, Tinca tinca", '"quoted" <script>alert(1)</script>', "größer; 大 & \\"),
    *(f"class {i}" for i in range(3, 10)),
)
FORMATS = [
    "onnx",
    "openvino",
    pytest.param("coreml", marks=pytest.mark.slow),
    pytest.param("tflite", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Artifact]:
    """Exports a network with class names, once a format."""
    folder = tmp_path_factory.mktemp("named")
    labels = folder / "labels.txt"
    labels.write_text("".join(f"n{i:08}\t{name}\n" for i, name in enumerate(NAMES)))
    model = ModelOptions(random_weights=True, num_classes=10, size=32, labels=labels)
    made: dict[str, Artifact] = {}

    def export(name: str, **options: bool) -> Artifact:
        if name == "tflite":
            private_python("tflite")
        if name in ("openvino", "coreml"):
            pytest.importorskip("openvino" if name == "openvino" else "coremltools")
        key = f"{name}{options}"
        if key not in made:
            chosen = ExportOptions(format=name, **options)  # type: ignore[arg-type]
            made[key] = api.export(XXS, model, chosen, out=folder / key)
        return made[key]

    return export


def alone(artifact: Artifact, folder: Path) -> Path:
    """A copy of an artifact without its manifest, under another name."""
    path = folder / f"other{artifact.path.suffix}"
    if artifact.path.is_dir():
        shutil.copytree(artifact.path, path)
    for file in artifact.path.parent.glob(f"{artifact.path.stem}.*"):
        if file.is_file() and not file.name.endswith(".json"):
            shutil.copy(file, path.with_suffix(file.suffix))
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_alone_is_what_its_manifest_said(
    named: Callable[..., Artifact], tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    artifact = named(name)
    opened = open_artifact(alone(artifact, tmp_path))
    beside, inside = artifact.manifest, opened.manifest
    assert inside.sha256 == beside.sha256 or name == "coreml"  # whose hash has file names
    same = beside.model_dump(exclude=OUTSIDE)
    assert inside.model_dump(exclude=OUTSIDE) == same and same["class_names"] == NAMES
    assert inside.parity is None and inside.file == opened.path.name
    assert inside.source == {"sha256": beside.source["sha256"]}
    assert inside.tools == {"edgenext": version("edgenext")}
    assert "no manifest beside it: read from the file" in caplog.text


def test_onnxruntime_gives_the_properties(named: Callable[..., Artifact]) -> None:
    artifact = named("onnx")
    meta = onnxruntime.InferenceSession(artifact.path).get_modelmeta()
    values = meta.custom_metadata_map
    assert meta.producer_name == "edgenext"
    assert onnx.load(artifact.path).producer_version == version("edgenext")
    assert json.loads(values["labels"]) == list(NAMES)
    assert json.loads(values["mean"]) == list(IMAGENET_MEAN)
    assert json.loads(values["std"]) == list(IMAGENET_STD)
    assert (values["input_size"], values["crop_pct"]) == ("32", "0.875")
    assert (values["interpolation"], values["scheme"]) == ("bicubic", "fp32")
    assert values["weights_sha256"] == artifact.manifest.source["sha256"]
    assert json.loads(values[KEY])["form"] == artifact.manifest.form
    known = {"arch", "version", "calibration_sha256"}
    assert set(values) - known == {
        *("labels", "mean", "std", "input_size", "crop_pct", "interpolation", "scheme"),
        *("weights_sha256", KEY),
    }


def test_a_quantized_file_names_its_calibration_and_nothing_of_its_source(
    named: Callable[..., Artifact], tmp_path: Path
) -> None:
    artifact = api.quantize(named("onnx").path, QuantizeOptions(calib="digits", n=8), out=tmp_path)
    values = {p.key: p.value for p in onnx.load(artifact.path).metadata_props}
    recorded = artifact.manifest.calibration
    assert recorded is not None and values["calibration_sha256"] == recorded.subset.sha256
    assert values["scheme"] == "w8a8-static"
    assert not [key for key in values if "onnx" in key], "of another tool"
    with_manifest = open_artifact(artifact.path)
    manifest_path(artifact.path).unlink()
    assert open_artifact(artifact.path).manifest.fitted_on == with_manifest.manifest.fitted_on


def test_bytes_do_not_depend_on_names_of_files(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    hashes = set()
    for name in ("a/one.safetensors", "b/two with a space.safetensors"):
        path = tmp_path / name
        path.parent.mkdir()
        save_file(random_state(XXS, 10, 0), path)
        artifact = api.export(XXS, ModelOptions(path, size=32), out=path.parent)
        hashes.add(sha256_file(artifact.path))
    assert len(hashes) == 1


def test_openvino_has_model_info(named: Callable[..., Artifact]) -> None:
    model = core().read_model(named("openvino").path)
    keys = ("model_type", "resize_type", "labels", "mean_values", "scale_values")
    info = {key: model.get_rt_info(["model_info", key]).astype(str) for key in keys}
    assert info["model_type"] == "Classification" and info["resize_type"] == "crop"
    words = info["labels"].split(" ")
    assert words[0] == "tench_Tinca_tinca" and len(words) == 10
    assert words[1] == '"quoted"_<script>alert(1)</script>' and words[2] == "größer_大_&_\\"
    for key, values in (("mean_values", IMAGENET_MEAN), ("scale_values", IMAGENET_STD)):
        np.testing.assert_allclose([*map(float, info[key].split())], np.multiply(values, 255))
    assert model.friendly_name == f"{XXS}-fp32"
    pixels = core().read_model(named("openvino", uint8_input=True).path)
    assert not any(pixels.has_rt_info(["model_info", key]) for key in keys[3:])
    assert pixels.has_rt_info(["model_info", "labels"])


@pytest.mark.slow
def test_coreml_describes_itself(named: Callable[..., Artifact]) -> None:
    import coremltools

    about = coremltools.utils.load_spec(str(named("coreml").path)).description.metadata
    assert about.author == "edgenext" and about.versionString == version("edgenext")
    assert "MIT" in about.license and about.shortDescription == f"{XXS}, fp32"
    assert json.loads(about.userDefined["labels"]) == list(NAMES)
    assert json.loads(about.userDefined["mean"]) == list(IMAGENET_MEAN)
    assert not [key for key in about.userDefined if "date" in key]


def with_entry(source: Path, path: Path, text: str) -> Path:
    model = onnx.load(source)
    metadata.clear(model)
    model.metadata_props.add(key=KEY, value=text)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{nope", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not an object"),
        ("{}", "is of another format"),
        ({"format": "tflite"}, "is of another format"),
        ({"labels": ["one"]}, "labels is not that of an image network"),
        ({"num_classes": 10**15}, "num_classes is not"),
        ({"eval": {"size": 10**9}}, "eval.size is not"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_hostile_entry_is_one_error(
    named: Callable[..., Artifact], tmp_path: Path, change: str | dict[str, object], message: str
) -> None:
    source = named("onnx").path
    text = metadata.read(source)
    assert text is not None
    text = change if isinstance(change, str) else json.dumps(json.loads(text) | change)
    with pytest.raises(ArtifactError, match=message):
        open_artifact(with_entry(source, tmp_path / "it.onnx", text))


def test_the_manifest_beside_a_file_wins(named: Callable[..., Artifact], tmp_path: Path) -> None:
    source = named("onnx")
    path = with_entry(source.path, tmp_path / "it.onnx", "{nope")
    manifest = source.manifest.model_dump(mode="json")
    manifest |= {"sha256": sha256_file(path), "size_bytes": path.stat().st_size}
    manifest_path(path).write_text(json.dumps(manifest))
    assert open_artifact(path).manifest.class_names == NAMES
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ArtifactError, match="not the file of its manifest"):
        open_artifact(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<?xml version="1.0"?><net><rt_info>', "is not XML"),
        (
            '<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "aaaa">]>'
            '<net><rt_info><edgenext value="&a;"/></rt_info></net>',
            "declares an entity",
        ),
        ('<?xml version="1.0" encoding="nonsense"?><net/>', "is not XML"),
        ('<?xml version="1.0"?><net><edgenext value="{}"/></net>', "none inside"),
    ],
)
def test_hostile_xml_is_one_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "it.xml"
    path.write_text(text)
    path.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(ArtifactError, match=message):
        open_artifact(path)


def test_a_foreign_file_says_nothing(tmp_path: Path) -> None:
    tensors = [onnx.helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy"]
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "g", tensors[:1], tensors[1:])
    onnx.save(onnx.helper.make_model(graph, ir_version=9), tmp_path / "it.onnx")
    with pytest.raises(ArtifactError, match=r"has no manifest it\.onnx\.json beside it"):
        open_artifact(tmp_path / "it.onnx")
