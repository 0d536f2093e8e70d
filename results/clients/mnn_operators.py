"""Where MNN computes opset 20 otherwise than opset 17: operators of an EdgeNeXt, one at a time.

Prints the SQNR in dB of each operator in MNN against onnxruntime. MNN's converter is called without
its command line, which reports each conversion over the network, and waits where there is none.

    pip install MNN==3.6.1 onnx onnxruntime
    python results/clients/mnn_operators.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import MNN
import MNN.expr
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]
SHAPE = (1, 8, 4, 6)
CONVERT = "import sys, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"
CASES: tuple[tuple[str, int, list[int] | None, dict[str, Any]], ...] = (
    ("Gelu", 20, None, {}),
    ("Gelu", 20, None, {"approximate": "tanh"}),
    ("Erf", 17, None, {}),
    ("ReduceL2", 17, None, {"axes": [-1]}),
    ("ReduceL2", 20, [-1], {}),
    ("ReduceMean", 17, None, {"axes": [2, 3]}),
    ("ReduceMean", 20, [2, 3], {}),
    ("ReduceMax", 17, None, {"axes": [-1]}),
    ("ReduceMax", 20, [-1], {}),
    ("LayerNormalization", 17, None, {"axis": -1}),
    ("Softmax", 17, None, {"axis": -1}),
)
"""Operator, opset, axes as a second input, attributes."""


def graph(operator: str, opset: int, axes: list[int] | None, attributes: dict[str, Any]) -> Any:
    """One operator; a LayerNormalization has a weight."""
    constants = {} if axes is None else {"axes": np.array(axes)}
    if operator == "LayerNormalization":
        constants["weight"] = np.linspace(0.5, 2, SHAPE[-1], dtype=np.float32)
    node = helper.make_node(operator, ["x", *constants], ["y"], **attributes)
    made = helper.make_graph(
        [node],
        operator,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def mnn(model: Any, x: Array) -> Array:
    """The output in MNN."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "graph.onnx"), Path(folder, "graph.mnn")
        onnx.save(model, source)
        options = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target)]
        command = [sys.executable, "-c", CONVERT, *options]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        net = MNN.nn.load_module_from_file(str(target), ["x"], ["y"])
    value = MNN.expr.const(x.ravel().tolist(), list(x.shape), MNN.expr.NCHW)
    result = MNN.expr.convert(net.forward([value])[0], MNN.expr.NCHW)
    return np.array(result.read(), np.float32)


def main() -> None:
    """A line for each operator."""
    print(f"MNN {MNN.version()}, onnxruntime {onnxruntime.__version__}")
    x = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
    for operator, opset, axes, attributes in CASES:
        model = graph(operator, opset, axes, attributes)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        (expected,) = session.run(None, {"x": x})
        actual = mnn(model, x)
        about = f"{operator} {attributes or axes or ''}"
        if actual.size != expected.size:
            print(f"opset {opset}  {about:35}  {actual.shape} instead of {expected.shape}")
            continue
        noise = float(np.square(expected - actual.reshape(expected.shape)).sum())
        db = 10 * np.log10(np.square(expected).sum() / max(noise, 1e-20))
        print(f"opset {opset}  {about:35}  {min(db, 200):6.1f}")


if __name__ == "__main__":
    main()
