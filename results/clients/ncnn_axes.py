"""What pnnx, ncnn's converter, makes of a ReduceL2 whose axes are an input: a minimal graph.

Prints the layer in ncnn's file for opset 17, where the axes are an attribute, and for opset 18,
from which on they are an input. `-23303` is the list of axes: its first number counts them.

    pip install --no-deps pnnx==20261020 && pip install onnx numpy
    python results/clients/ncnn_axes.py
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = [1, 4, 12, 64]


def graph(opset: int) -> onnx.ModelProto:
    """The norm of each row."""
    constants = []
    if opset < 18:
        node = helper.make_node("ReduceL2", ["x"], ["y"], axes=[-1], keepdims=1)
    else:
        node = helper.make_node("ReduceL2", ["x", "axes"], ["y"], keepdims=1)
        constants = [numpy_helper.from_array(np.array([-1], np.int64), "axes")]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", SHAPE), ("y", [*SHAPE[:-1], 1]))
    ]
    body = helper.make_graph([node], "norm", ends[:1], ends[1:], constants)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def main() -> None:
    """Convert both and print the layer."""
    spec = importlib.util.find_spec("pnnx")
    if spec is None or spec.origin is None:
        sys.exit("pnnx is not installed")
    pnnx = Path(spec.origin).with_name("pnnx")
    with tempfile.TemporaryDirectory() as name:
        for opset in (17, 18):
            path = Path(name) / f"opset{opset}.onnx"
            onnx.save(graph(opset), path)
            command = [str(pnnx), path.name, f"inputshape={SHAPE}".replace(" ", "")]
            subprocess.run(command, cwd=name, capture_output=True, check=True)
            text = path.with_suffix(".ncnn.param").read_text()
            print(opset, next(line for line in text.splitlines() if "Reduction" in line))


if __name__ == "__main__":
    main()
