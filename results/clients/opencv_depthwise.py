"""Where OpenCV 5's new engine computes INT8 files wrongly: a small map under a large kernel.

A depth-wise convolution between Q/DQ, as in the last stage of an EdgeNeXt at 64 px (9×9 on 2×2),
for several kernels and maps. Prints the SQNR in dB of both engines against onnxruntime.

    pip install opencv-python-headless==5.0.0.93 onnx onnxruntime
    python results/clients/opencv_depthwise.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Array = NDArray[np.float32]
CHANNELS = 16
CASES = ((3, 8), (7, 8), (9, 8), (9, 7), (9, 6), (9, 5), (9, 4), (9, 2), (7, 2), (5, 2), (3, 2))
"""Kernel and side of the map."""


def depthwise(kernel: int, side: int, *, quantized: bool) -> ModelProto:
    """Q, DQ, a depth-wise convolution with `same` padding, Q, DQ; or the convolution alone."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.integers(-64, 65, (CHANNELS, 1, kernel, kernel)).astype(np.int8),
        "w_scale": np.full(CHANNELS, 0.01, np.float32),
        "w_zero": np.zeros(CHANNELS, np.int8),
        "b": rng.integers(-1000, 1000, CHANNELS).astype(np.int32),
        "b_scale": np.full(CHANNELS, 0.01 * 0.02, np.float32),
        "b_zero": np.zeros(CHANNELS, np.int32),
        **{f"{n}_scale": np.float32(s) for n, s in (("x", 0.02), ("y", 0.1))},
        **{f"{n}_zero": np.uint8(128) for n in ("x", "y")},
    }
    pads = [kernel // 2] * 4

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
        return helper.make_node(op, inputs, [output], name=output, **attributes)

    constants = [
        node("DequantizeLinear", ["w", "w_scale", "w_zero"], "wf", axis=0),
        node("DequantizeLinear", ["b", "b_scale", "b_zero"], "bf", axis=0),
    ]
    source = "xf" if quantized else "x"
    conv = node("Conv", [source, "wf", "bf"], "y", group=CHANNELS, pads=pads)
    nodes, result = [*constants, conv], "y"
    if quantized:
        nodes = [
            node("QuantizeLinear", ["x", "x_scale", "x_zero"], "xq"),
            node("DequantizeLinear", ["xq", "x_scale", "x_zero"], "xf"),
            *nodes,
            node("QuantizeLinear", ["y", "y_scale", "y_zero"], "yq"),
            node("DequantizeLinear", ["yq", "y_scale", "y_zero"], "out"),
        ]
        result = "out"
    shape, used = [1, CHANNELS, side, side], {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "depthwise",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items() if k in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def opencv(model: ModelProto, x: Array, engine: int) -> Array:
    """The output in one of OpenCV's engines."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.onnx")
        path.write_bytes(model.SerializeToString())
        net = cv2.dnn.readNetFromONNX(str(path), engine)
    net.setInput(x)
    return np.asarray(net.forward(), np.float32).copy()


def sqnr(reference: Array, other: Array) -> float:
    """10·log10(Σref²/Σerr²), at most 200."""
    noise = float(np.square(reference - other.reshape(reference.shape)).sum())
    return min(10 * float(np.log10(np.square(reference).sum() / max(noise, 1e-20))), 200.0)


def main() -> None:
    """A line for each kernel and map."""
    print(f"OpenCV {cv2.__version__}, onnxruntime {onnxruntime.__version__}")
    print("kernel  map  float new  Q/DQ new  Q/DQ classic")
    for kernel, side in CASES:
        x = np.random.default_rng(1).normal(0, 1, (1, CHANNELS, side, side)).astype(np.float32)
        row = []
        for quantized, engine in (
            (False, cv2.dnn.ENGINE_NEW),
            (True, cv2.dnn.ENGINE_NEW),
            (True, cv2.dnn.ENGINE_CLASSIC),
        ):
            model = depthwise(kernel, side, quantized=quantized)
            session = onnxruntime.InferenceSession(model.SerializeToString())
            (expected,) = session.run(None, {"x": x})
            row.append(sqnr(expected, opencv(model, x, engine)))
        print(f"{kernel:6}  {side:3}  {row[0]:9.1f}  {row[1]:8.1f}  {row[2]:12.1f}")


if __name__ == "__main__":
    main()
