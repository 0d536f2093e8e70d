"""Classifiers as others write them: one small network in many layouts, and files that are none."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, CLASSES = 32, 10
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.25)
LABELS = tuple(f"n{i}" for i in range(CLASSES))


@dataclass(frozen=True)
class Variant:
    """How a file differs from a plain one: N×3×H×W float32 to N×K logits.

    `dtype` is of the input and output, `uint8` of pixels with the preprocessing inside.
    """

    dtype: str = "float32"
    last: bool = False
    softmax: bool = False
    batch: int | str = 1
    free_size: bool = False
    spatial: bool = False
    second_output: bool = False
    opset: int = 17


def write_classifier(path: Path, variant: Variant | None = None, **metadata: str) -> Path:
    """The network as an ONNX file: a convolution, a mean over the image and a linear layer."""
    variant = variant or Variant()
    rng = np.random.default_rng(3)
    half = variant.dtype == "float16"
    kind = np.float16 if half else np.float32
    weights = {
        "kernel": rng.normal(0, 0.3, (6, 3, 3, 3)).astype(kind),
        "head": rng.normal(0, 2, (6, CLASSES)).astype(kind),
        "mean": (255 * np.reshape(MEAN, (1, 3, 1, 1))).astype(np.float32),
        "std": (255 * np.reshape(STD, (1, 3, 1, 1))).astype(np.float32),
    }
    nodes, x = [], "picture"

    def then(operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator.lower()}{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    if variant.last:
        x = then("Transpose", x, perm=[0, 3, 1, 2])
    if variant.dtype == "uint8":
        x = then("Cast", x, to=TensorProto.FLOAT)
        x = then("Div", then("Sub", x, "mean"), "std")
    x = then("Relu", then("Conv", x, "kernel", pads=[1, 1, 1, 1]))
    middle = x
    x = then("MatMul", then("Flatten", then("GlobalAveragePool", x)), "head")
    if variant.softmax:
        x = then("Softmax", x, axis=-1)
    if variant.spatial:
        weights["shape"] = np.array([0, CLASSES, 1, 1])
        x = then("Reshape", x, "shape")
    n, side = variant.batch, "side" if variant.free_size else SIZE
    shape = [n, side, side, 3] if variant.last else [n, 3, side, side]
    tensor = {"uint8": TensorProto.UINT8, "float16": TensorProto.FLOAT16}
    out = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    ends = [n, CLASSES, 1, 1] if variant.spatial else [n, CLASSES]
    outputs = [helper.make_tensor_value_info(x, out, ends)]
    if variant.second_output:
        outputs.insert(0, helper.make_tensor_value_info(middle, out, [n, 6, SIZE, SIZE]))
    used = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(v, k) for k, v in weights.items() if k in used]
    source = helper.make_tensor_value_info(
        "picture", tensor.get(variant.dtype, TensorProto.FLOAT), shape
    )
    graph = helper.make_graph(nodes, "theirs", [source], outputs, constants)
    opsets = [helper.make_opsetid("", variant.opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="theirs")
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


def write_timm(path: Path) -> Path:
    """A MobileNetV3 of timm with random weights, as torch exports it."""
    import timm
    import torch

    torch.manual_seed(0)
    network = timm.create_model("mobilenetv3_small_050", num_classes=CLASSES).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, 64, 64),),
            path,
            input_names=["x"],
            output_names=["y"],
            dynamo=False,
            opset_version=17,
        )
    return path


def changed(path: Path, change: Any) -> Path:
    """The file after a change of its graph."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    return path
