"""Tiny artifacts that onnxruntime opens in milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgenext.formats.artifact import Artifact, save_artifact
from edgenext.schema import EvalTransform, TensorSpec

SIZE = 32
CLASSES = 10


def tiny_artifact(
    folder: Path,
    name: str = "tiny",
    *,
    channels: int = 8,
    batch: int = -1,
    layers: int = 1,
    classes: int = CLASSES,
    seed: int = 0,
) -> Artifact:
    """Convolutions, a mean over the image and a linear layer, with a manifest beside the file."""
    rng = np.random.default_rng(seed)
    nodes, weights, last, width = [], [], "input", 3
    for i in range(layers):
        w = rng.normal(0, 1 / np.sqrt(width * 9), (channels, width, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(w, f"w{i}"))
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        last, width = f"c{i}", channels
    head = rng.normal(0, 1, (channels, classes)).astype(np.float32)
    weights.append(numpy_helper.from_array(head, "head"))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
    ]
    n = "N" if batch < 0 else batch
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [n, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [n, classes])],
        weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="tests"
    )
    about = {
        "format": "onnx",
        "scheme": "fp32",
        "form": "naive",
        "target": "cpu-onnxruntime",
        "arch": "tiny",
        "num_classes": classes,
        "eval": EvalTransform(size=SIZE),
        "input": TensorSpec(name="input", shape=(batch, 3, SIZE, SIZE), dtype="float32"),
        "outputs": (TensorSpec(name="logits", shape=(batch, classes), dtype="float32"),),
        "opset": 17,
        "source": {},
        "tools": {},
    }
    return save_artifact(folder / f"{name}.onnx", model.SerializeToString(), about)
