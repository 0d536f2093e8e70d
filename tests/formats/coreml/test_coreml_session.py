"""Core ML artifacts as sessions, with image inputs and with whole networks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from golden import weights as golden

from edgenext.errors import ArtifactError, MissingDependencyError, RuntimeFailedError
from edgenext.formats.artifact import Artifact
from edgenext.formats.coreml import program as mil_program
from edgenext.formats.coreml import session as coreml
from edgenext.formats.coreml.session import CoreMLSession, MilProgram
from edgenext.graph.forms import Deployable
from edgenext.metrics.fidelity import fidelity
from edgenext.models import zoo
from edgenext.schema import EvalTransform, Manifest, TensorSpec

with mil_program.warnings_hidden():
    ct = pytest.importorskip("coremltools", reason="coremltools is not installed")
    coreml.preload()
    from coremltools.converters.mil import Builder as mb  # noqa: N813 # as coremltools has it
from mil_packages import IGNORED_WARNINGS, PIXELS, RNG, X, convert, package, save, softmax

pytestmark = IGNORED_WARNINGS


class Classifier(torch.nn.Module):
    """A convolution with a softmax, or with squared logits."""

    def __init__(self, normalised: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.normalised = torch.nn.Conv2d(3, 5, 8), normalised

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.conv(x).flatten(1)
        return logits.softmax(-1) if self.normalised else logits.square()


def exported(net: torch.nn.Module, size: int, batch: int = 1) -> Any:
    example = torch.zeros(batch, 3, size, size)
    return torch.export.export(net.eval(), (example,)).run_decompositions({})


def classifier(folder: Path, normalised: bool = True, layout: str = "RGB", **options: Any) -> Path:
    image = ct.ImageType(
        "image",
        shape=(1, 3, 8, 8),
        scale=1 / 127.5,
        bias=[-1, -0.5, -0.25],
        color_layout=getattr(ct.colorlayout, layout),
    )
    return save(convert(exported(Classifier(normalised), 8), inputs=[image], **options), folder)


def manifest(shape: tuple[int, ...], dtype: str = "float32", **fields: Any) -> Manifest:
    about = {
        "file": "it.mlpackage",
        "format": "coreml",
        "eval": EvalTransform(size=shape[-1], crop_pct=1.0),
        "input": TensorSpec(name="image", shape=shape, dtype=dtype),
        "outputs": (TensorSpec(name="logits", shape=(shape[0], 1000), dtype="float32"),),
        "labels": None,
    }
    return Manifest.model_construct(**about | fields)


NAMES = ("ant", "bee", "cat", "dog", "eel")


PICTURE = manifest((1, 8, 8, 3), "uint8", labels=NAMES)


def scaled(layout: str) -> torch.Tensor:
    """`PIXELS`, scaled as by the image type of `classifier`."""
    image = PIXELS[..., ::-1] if layout == "BGR" else PIXELS
    x = image.transpose(0, 3, 1, 2).astype(np.float64) / 127.5
    return torch.from_numpy((x + np.array([-1, -0.5, -0.25])[:, None, None]).astype(np.float32))


@pytest.mark.parametrize("layout", ["RGB", "BGR"])
def test_images_are_scaled_by_the_program(tmp_path: Path, layout: str) -> None:
    fp32 = {"compute_precision": ct.precision.FLOAT32}
    program = MilProgram(classifier(tmp_path, layout=layout, **fp32))
    assert program.images == {"image": layout}
    result = program.run({"image": PIXELS})[program.outputs[0]]
    with torch.inference_mode():
        expected = Classifier(True)(scaled(layout)).numpy()
    np.testing.assert_allclose(result, expected, 1e-4)
    with pytest.raises(RuntimeFailedError, match="cannot be fed as"):
        program.run({"image": PIXELS.transpose(0, 3, 1, 2)})


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1], (NAMES[1], NAMES[0], *NAMES[2:])])
def test_logits_of_a_classifier_in_the_order_of_the_manifest(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    path = classifier(tmp_path, classifier_config=ct.ClassifierConfig(list(names)))
    program = MilProgram(path)
    with torch.inference_mode():
        expected = Classifier(False).conv(scaled("RGB")).flatten(1).numpy()
    result = program.run({"image": PIXELS})
    assert result["classLabel"].tolist() == [names[int(expected.argmax())]]
    np.testing.assert_allclose(result["classLabel_probs"], softmax(expected, 1), 5e-3)
    session = CoreMLSession(path, PICTURE, 1)
    order = [names.index(name) for name in NAMES]
    logits = session.infer(session.prepare(PIXELS))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected[:, order], 5e-3, 5e-3)


def test_classes_may_be_numbers(tmp_path: Path) -> None:
    path = classifier(tmp_path, classifier_config=ct.ClassifierConfig([4, 3, 2, 1, 0]))
    assert MilProgram(path).classes == ("4", "3", "2", "1", "0")
    result = MilProgram(path).run({"image": PIXELS})
    assert result["classLabel"].tolist() == [4 - int(result["classLabel_probs"].argmax())]
    session = CoreMLSession(path, PICTURE.model_copy(update={"labels": None}), 1)
    assert session.infer(PIXELS).shape == (1, 5)


def test_a_classifier_without_a_softmax_gives_logarithms(tmp_path: Path) -> None:
    path = classifier(
        tmp_path, normalised=False, classifier_config=ct.ClassifierConfig(list(NAMES))
    )
    session = CoreMLSession(path, PICTURE, 1)
    values = session.trace(PIXELS)["classLabel_probs"]
    np.testing.assert_allclose(session.infer(PIXELS), np.log(values), 1e-5)


def test_labels_must_match_the_manifest(tmp_path: Path) -> None:
    path = classifier(tmp_path, classifier_config=ct.ClassifierConfig(list("abcde")))
    with pytest.raises(ArtifactError, match=r"it\.mlpackage has other labels than its manifest"):
        CoreMLSession(path, PICTURE, 1)


def network(arch: str, form: str) -> Deployable:
    net = zoo.create_model(arch)
    net.load_state_dict(golden.state(arch))
    return Deployable(net.eval(), form, 64, 64)


def network_package(folder: Path, net: Deployable, precision: str, batch: int = 1) -> Path:
    names = ("logits", "stem", *(f"stage{i}" for i in range(4)))
    outputs = [ct.TensorType(name, dtype=np.float32) for name in names]
    inputs = [ct.TensorType("image", shape=(batch, 3, 64, 64), dtype=np.float32)]
    model = convert(
        exported(net, 64, batch),
        "iOS17",
        inputs=inputs,
        outputs=outputs,
        compute_precision=getattr(ct.precision, precision),
    )
    return save(model, folder)


IMAGES = RNG.integers(0, 256, (2, 64, 64, 3), np.uint8)


NETWORK = manifest((2, 3, 64, 64))

XXS, BN = "edgenext_xx_small", "edgenext_xx_small_bn_hs"
LEAST_DB = {"FLOAT32": 102, "FLOAT16": 54}  # 106.0 and 58.0 at least were measured
IN_SUITE = [(XXS, "convT", "FLOAT32"), (XXS, "convT", "FLOAT16"), (BN, "naive", "FLOAT32")]
NETWORKS = [
    case if case in IN_SUITE else pytest.param(*case, marks=pytest.mark.campaign)
    for case in (
        (arch, form, precision)
        for arch, form in (
            (XXS, "convT"),
            (XXS, "convC"),
            (XXS, "naive"),
            (BN, "convT"),
            (BN, "naive"),
        )
        for precision in LEAST_DB
    )
]
"""Architecture, form and precision of whole networks."""


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "form", "precision"), NETWORKS)
def test_networks_agree_with_torch(tmp_path: Path, arch: str, form: str, precision: str) -> None:
    net, least = network(arch, form), LEAST_DB[precision]
    path = network_package(tmp_path, net, precision, batch=2)
    session = coreml.open_session(Artifact(path, NETWORK), 1)
    assert (session.runtime, session.evidence) == ("coreml-interpreter", "emulated")
    assert session.batch == 2
    prepared = session.prepare(IMAGES)
    with torch.inference_mode():
        logits, *features = (t.numpy() for t in net(torch.from_numpy(prepared)))
    result = session.infer(prepared)
    assert (result.dtype, result.shape) == (np.float32, (2, 1000))
    assert fidelity(logits, result).sqnr_db > least
    values = session.trace(prepared)
    assert np.array_equal(values["logits"], result)
    assert {value.dtype for value in values.values()} == {np.dtype(np.float32)}
    assert "image" not in values
    for name, expected in zip(("stem", "stage3"), features[::4], strict=True):
        assert fidelity(expected.reshape(2, -1), values[name].reshape(2, -1)).sqnr_db > least


def test_the_number_of_threads_is_restored(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    path = package(tmp_path, lambda x: mb.relu(x=x, name="logits"), X)
    about = manifest((2, 3, 4, 5))
    spec = about.input.model_copy(update={"name": "x"})
    session = CoreMLSession(path, about.model_copy(update={"input": spec}), 2)
    assert np.array_equal(session.infer(X), X.clip(0).reshape(2, -1))
    assert torch.get_num_threads() == before


class FakeModel:
    """A fake of a package loaded into Core ML, which only macOS has."""

    def __init__(self, program: MilProgram) -> None:
        self.program = program

    def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        result = self.program.run({"image": np.asarray(inputs["image"])[None]})
        probabilities = dict(zip(self.program.classes, result["classLabel_probs"][0], strict=True))
        return {"classLabel": result["classLabel"][0], "classLabel_probs": probabilities}


def test_on_macos_core_ml_runs_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = classifier(tmp_path, classifier_config=ct.ClassifierConfig(list(NAMES[::-1])))
    elsewhere = CoreMLSession(path, PICTURE, 1).infer(PIXELS)
    monkeypatch.setattr(coreml, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(coreml, "device_model", lambda package: FakeModel(MilProgram(package)))
    session = CoreMLSession(path, PICTURE, 1)
    assert (session.runtime, session.evidence) == ("coreml", "device")
    result = session.infer(session.prepare(PIXELS))
    np.testing.assert_allclose(softmax(result, 1), softmax(elsewhere, 1), 5e-3)
    with pytest.raises(
        RuntimeFailedError, match=r"Core ML cannot run it\.mlpackage: .*cannot be fed"
    ):
        session.infer(PIXELS[..., 0])


def test_core_ml_refuses_in_one_line(
    weighted_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise Exception("compiler error")

    monkeypatch.setattr(ct.models, "MLModel", refuse)
    with pytest.raises(RuntimeFailedError, match=r"Core ML cannot load small\.mlpackage: compiler"):
        coreml.device_model(weighted_package)


def test_without_the_package(weighted_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgenext\[coreml\]'"):
        MilProgram(weighted_package)


@pytest.mark.campaign
def test_coremltools_is_quiet(weighted_package: Path) -> None:
    code = (
        "import logging; from pathlib import Path; from edgenext.formats.coreml import session; "
        f"session.MilProgram(Path({str(weighted_package)!r})); "
        "print(logging.root.manager.disable)"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert process.stderr == ""
    assert process.stdout.split() == ["0"]


def test_a_program_without_an_output_of_its_manifest_is_refused(tmp_path: Path) -> None:
    other = (TensorSpec(name="features", shape=(1, 5), dtype="float32"),)
    with pytest.raises(ArtifactError, match="has no output features, its manifest has one"):
        CoreMLSession(classifier(tmp_path), manifest((1, 8, 8, 3), "uint8", outputs=other), 1)
