from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from conversions import SharedConversions
from onnx import helper, numpy_helper

from edgenext.errors import ArtifactError, MissingDependencyError, RuntimeFailedError
from edgenext.formats import conversion
from edgenext.formats.conversion import ConversionJob, convert
from edgenext.formats.format import Converter, require_format
from edgenext.system.isolation import IsolatedCall

pytest.importorskip("coremltools", reason="no coremltools (pip install 'edgenext[coreml]')")

OPTIONS = {
    "scheme": "fp32",
    "ios": "16",
    "image": False,
    "arch": "edgenext_xx_small",
    "labels": None,
    "num_classes": 1000,
    "eval": {"size": 32, "crop_pct": 0.875},
}


def coreml_job(needs: str = "coremltools", **options: object) -> ConversionJob:
    """A conversion to Core ML by a converter that needs a package, with some options changed."""
    row = require_format("coreml")
    return ConversionJob(row, Converter(needs=needs), OPTIONS | options)


@pytest.fixture(autouse=True)
def fresh(conversions: SharedConversions) -> Iterator[None]:
    """These tests look at what a converter does, not at its file."""
    with conversions.fresh():
        yield


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    """A graph of one convolution."""
    sides = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("input", (1, 3, 32, 32)), ("logits", (1, 10)))
    ]
    weight = np.random.default_rng(0).normal(size=(10, 3, 4, 4)).astype(np.float32)
    how = {"strides": [4, 4], "dilations": [1, 1], "group": 1, "pads": [0, 0, 0, 0]}
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["map"], **how),
        helper.make_node("ReduceMean", ["map", "axes"], ["scores"], keepdims=0),
        helper.make_node("Softmax", ["scores"], ["logits"], axis=-1),
    ]
    constants = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.array([2, 3]), "axes"),
    ]
    graph = helper.make_graph(nodes, "small", sides[:1], sides[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_time_and_memory_are_recorded_and_output_goes_to_a_log(
    model: onnx.ModelProto, tmp_path: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "it.mlpackage"
    conversion, _ = convert(model, out, coreml_job())
    assert out.is_dir()
    assert conversion.converter.startswith("coremltools ")
    assert conversion.seconds > 0.5 and conversion.peak_mb > 100
    assert capfd.readouterr() == ("", "")
    assert "Torch version" in (cache / "logs" / "it.mlpackage.log").read_text()


def test_an_error_of_this_package_keeps_its_class(
    model: onnx.ModelProto, tmp_path: Path, cache: Path
) -> None:
    odd = onnx.ModelProto.FromString(model.SerializeToString())
    next(n for n in odd.graph.node if n.op_type == "Softmax").op_type = "Hardmax"
    with pytest.raises(ArtifactError, match="Hardmax"):
        convert(odd, tmp_path / "it.mlpackage", coreml_job())


def test_a_converter_that_fails_names_its_log(
    model: onnx.ModelProto, tmp_path: Path, cache: Path
) -> None:
    pytest.importorskip("openvino", reason="no OpenVINO, whose converter starts soonest")
    job = ConversionJob(require_format("openvino"), Converter(needs="openvino"), {})
    with pytest.raises(RuntimeFailedError, match=r"KeyError.*logs/it\.xml\.log"):
        convert(model, tmp_path / "it.xml", job)
    assert "Traceback" in (cache / "logs" / "it.xml.log").read_text()


def test_a_missing_package_is_reported_first(model: onnx.ModelProto, tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgenext\[coreml\]'"):
        convert(model, tmp_path / "it", coreml_job("no_such_package"))


def test_too_little_memory_is_reported(
    model: onnx.ModelProto, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "python"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr("edgenext.formats.conversion.python_for", lambda *_: str(killed))
    with pytest.raises(RuntimeFailedError, match="signal 9: out of memory"):
        convert(model, tmp_path / "it", coreml_job())


def test_arrays_and_samples_reach_the_converter(
    model: onnx.ModelProto, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = tmp_path / "received.json"
    spy = tmp_path / "python"
    spy.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path}/spy.py $3 $4\n")
    spy.chmod(0o755)
    (tmp_path / "spy.py").write_text(
        "import json, sys, numpy as np\n"
        "job = json.load(open(sys.argv[1]))\n"
        "shape = np.load(job['samples']).shape, sorted(np.load(job['weights']).files)\n"
        f"json.dump(shape, open({str(received)!r}, 'w'))\n"
        "json.dump({'tool': 'spy 1', 'peak_mb': 1.0}, open(sys.argv[2], 'w'))\n"
    )
    monkeypatch.setattr("edgenext.formats.conversion.python_for", lambda *_: str(spy))
    samples = np.zeros((2, 4, 4, 3), np.float32)
    row = require_format("coreml")
    job = ConversionJob(row, Converter(needs="spy"), {}, samples=samples, arrays={"a": samples})
    conversion, _ = convert(model, tmp_path / "it", job)
    assert conversion.converter == "spy 1"
    assert received.read_text() == '[[2, 4, 4, 3], ["a"]]'


def test_a_file_of_an_unsteady_compiler_is_one_that_two_conversions_agree_on(
    model: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, contents = tmp_path / "model.bin", iter([b"a", b"b", b"c", b"b", b"d"])

    def call(*_: object) -> IsolatedCall:
        out.write_bytes(next(contents))
        return IsolatedCall({"tool": "a compiler", "peak_mb": 1.0}, "", 2.0)

    monkeypatch.setattr(conversion, "call_isolated", call)
    job = ConversionJob(require_format("qnn-context"), Converter(unsteady="it races"), {})
    made, _ = convert(model, out, job)
    assert (out.read_bytes(), made.seconds) == (b"b", 8.0)
