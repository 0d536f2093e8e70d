"""For tests that call vendors' compilers: marks, and artifacts of any graph."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest

from edgenext.formats.artifact import Artifact, save_artifact
from edgenext.formats.onnx.session import tensor_spec
from edgenext.schema import CheckReport, EvalTransform, TensorSpec

nvidia = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="tensorrt-rtx-cu12 is not installed"
)
qualcomm = pytest.mark.skipif(
    find_spec("onnxruntime_qnn") is None, reason="onnxruntime-qnn is not installed"
)


def artifact_of(
    model: onnx.ModelProto | bytes,
    path: Path,
    *,
    scheme: str = "fp32",
    target: str = "cpu-onnxruntime",
    file_format: str = "onnx",
) -> Artifact:
    """An artifact of a graph, or of bytes that are not a graph."""
    content = model if isinstance(model, bytes) else model.SerializeToString()
    graph = onnx.GraphProto() if isinstance(model, bytes) else model.graph
    image = TensorSpec(name="input", shape=(1, 3, 64, 64), dtype="float32")
    logits = TensorSpec(name="logits", shape=(1, 1000), dtype="float32")
    fields = {
        "format": file_format,
        "scheme": scheme,
        "form": "convT",
        "target": target,
        "arch": "edgenext_xx_small",
        "num_classes": 1000,
        "eval": EvalTransform(size=64),
        "input": next(map(tensor_spec, graph.input), image),
        "outputs": [tensor_spec(value) for value in graph.output] or [logits],
        "source": {},
        "tools": {},
    }
    return save_artifact(path, content, fields)


def changed(artifact: Artifact, path: Path, change: Callable[[onnx.ModelProto], None]) -> Artifact:
    """An artifact of the same graph, changed."""
    model = onnx.load(artifact.path)
    change(model)
    return artifact_of(model, path, scheme=artifact.manifest.scheme)


def units(report: CheckReport) -> dict[str, int]:
    """How many operators each unit runs."""
    return {place.unit: place.total for place in report.placements}
