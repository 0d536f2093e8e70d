"""An exported ONNX graph as a torch module, for converters that start from PyTorch.

Every format starts from the same graph, so the quantizer's decisions hold for all of them. Q/DQ
become operators of `torch.ops.quantized_decomposed`, which the converters recognise.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed
from onnx import numpy_helper
from torch import Tensor, fx, nn
from torch.nn import functional as F

from edgenext.errors import ArtifactError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Operator = Callable[..., Any]

QUANTIZED = {
    np.dtype(np.int8): (-128, 127, torch.int8),
    np.dtype(np.uint8): (0, 255, torch.uint8),
    np.dtype(np.int16): (-32768, 32767, torch.int16),
    onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.INT4): (-8, 7, torch.int8),
}
"""The type of a zero point → first and last level, and torch's type; int4 is stored as int8."""


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, **a: Any) -> Tensor:
    pads = a.get("pads", [0, 0, 0, 0])
    return F.conv2d(x, weight, bias, a["strides"], pads[:2], a["dilations"], a["group"])


def _gemm(x: Tensor, weight: Tensor, bias: Tensor | None = None, **a: Any) -> Tensor:
    return F.linear(x, weight if a.get("transB") else weight.t(), bias)


def _mean(x: Tensor, axes: list[int], **a: Any) -> Tensor:
    return x.mean(axes, keepdim=bool(a.get("keepdims", 1)))


def _length(x: Tensor, axes: list[int], **a: Any) -> Tensor:
    # by the mean, because the sum over a thousand tokens would overflow in float16
    count = math.prod(x.shape[axis] for axis in axes)
    mean = (x * x).mean(axes, keepdim=bool(a.get("keepdims", 1)))
    return mean.sqrt() * math.sqrt(count)


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None = None, **a: Any) -> Tensor:
    return F.layer_norm(x, weight.shape, weight, bias, a["epsilon"])


def _normalised(x: Tensor, epsilon: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred * torch.rsqrt((centred * centred).mean(-1, keepdim=True) + epsilon)


def _clip(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    return torch.clamp(x, low, high)


OPERATORS: dict[str, Operator] = {
    "Add": torch.add,
    "Clip": _clip,
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Conv": _conv,
    "Div": torch.div,
    "Erf": torch.erf,
    "Gelu": lambda x, **_: F.gelu(x),
    "Gemm": _gemm,
    "HardSwish": F.hardswish,
    "LayerNormalization": _layer_norm,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "ReduceL2": _length,
    "ReduceMean": _mean,
    "Relu": F.relu,
    "Sigmoid": torch.sigmoid,
    "Reshape": lambda x, shape, **_: torch.reshape(x, shape),
    "Softmax": lambda x, axis: torch.softmax(x, axis),
    "Split": lambda x, sizes, axis: torch.split(x, sizes, axis),
    "Sqrt": torch.sqrt,
    "Squeeze": lambda x, axes: x.squeeze(tuple(axes)),
    "Sub": torch.sub,
    "Transpose": lambda x, perm: torch.permute(x, perm),
    "Cast": lambda x, **_: x.to(torch.float32),
}
"""The operators of deployment graphs; inputs that are not tensors are Python values."""

HALF_FLOOR = 2.0**-6
"""Least norm of a query or key in float16: the quotient of a temperature of up to 16 and two such
norms is finite. Norms over more than two tokens are far above, because rows of qkv have norm 1."""

PLAIN = {
    "Clip": (1, 2),
    "ReduceL2": (1,),
    "ReduceMean": (1,),
    "Reshape": (1,),
    "Split": (1,),
    "Squeeze": (1,),
}
"""Positions of inputs that are lists or numbers, not tensors."""


def torch_graph(
    model: onnx.ModelProto,
    *,
    written_norms: bool = False,
    float_weights: bool = False,
    half: bool = False,
) -> fx.GraphModule:
    """A module that computes the same as a deployment graph.

    Args:
        model: float or Q/DQ ONNX graph with a fixed batch, in a deployment form.
        written_norms: decompose LayerNorm into means over the last axis.
        float_weights: quantized weights as float ones that pass through Q/DQ.
        half: for float16, in which the divisors of attention must not be too small.

    Returns:
        A module in evaluation mode with the graph's input. It returns a tensor, or a tuple if the
        graph has several outputs.

    Raises:
        ArtifactError: an operator that deployment graphs do not have.
    """
    return Translation(model, written_norms, float_weights, half).module()


def example_input(model: onnx.ModelProto) -> Tensor:
    """Zeros of the shape and type of a graph's input: uint8 for pixels, else float32."""
    tensor = model.graph.input[0].type.tensor_type
    pixels = tensor.elem_type == onnx.TensorProto.UINT8
    shape = [d.dim_value for d in tensor.shape.dim]
    return torch.zeros(shape, dtype=torch.uint8 if pixels else torch.float32)


class Translation:
    """The fx graph while it is built, node by node of the ONNX graph.

    A subclass may translate Q/DQ otherwise (`quantize`, `dequantize`), or other operators.
    """

    operators = OPERATORS

    def __init__(
        self,
        model: onnx.ModelProto,
        written_norms: bool = False,
        float_weights: bool = False,
        half: bool = False,
    ) -> None:
        self.source = model.graph
        self.written_norms, self.float_weights = written_norms, float_weights
        self.least = HALF_FLOOR if half else 0.0
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.values: dict[str, fx.Node] = {}

    def module(self) -> fx.GraphModule:
        """The module of the whole graph; see `torch_graph`."""
        name = self.source.input[0].name
        self.values[name] = self.graph.placeholder(name)
        for node in self.source.node:
            self._translate(node)
        values = tuple(self.values[o.name] for o in self.source.output)
        self.graph.output(values if len(values) > 1 else values[0])
        return fx.GraphModule(self.root, self.graph, "EdgeNeXt").eval()

    def _translate(self, node: onnx.NodeProto) -> None:
        if node.op_type == "Constant":
            self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Cast" and node.input[0] in self.constants:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(node.attribute[0].i)
            self.constants[node.output[0]] = self.constants[node.input[0]].astype(dtype)
        elif node.op_type == "QuantizeLinear":
            self.quantize(node)
        elif node.op_type == "DequantizeLinear":
            self.dequantize(node)
        elif node.op_type == "LayerNormalization" and self.written_norms:
            self._written_norm(node)
        elif node.op_type in self.operators:
            self._call(node)
        else:
            raise ArtifactError(f"the operator {node.op_type} ({node.name}) is not supported")

    def _call(self, node: onnx.NodeProto) -> None:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type in ("Softmax", "Reshape", "Gelu", "Cast"):
            attributes = {k: v for k, v in attributes.items() if k == "axis"}
        plain = PLAIN.get(node.op_type, ())
        inputs = [
            self._plain(name) if i in plain else self.tensor(name)
            for i, name in enumerate(node.input)
        ]
        if node.op_type == "Clip" and inputs[1] is not None:
            inputs[1] = max(inputs[1], self.least)
        result = self.graph.call_function(self.operators[node.op_type], tuple(inputs), attributes)
        if len(node.output) == 1:
            self.values[node.output[0]] = result
            return
        for i, name in enumerate(node.output):
            self.values[name] = self.graph.call_function(operator.getitem, (result, i))

    def _written_norm(self, node: onnx.NodeProto) -> None:
        epsilon = next(a.f for a in node.attribute if a.name == "epsilon")
        value = self.graph.call_function(_normalised, (self.tensor(node.input[0]), epsilon))
        affine: tuple[tuple[Operator, int], ...] = ((torch.mul, 1), (torch.add, 0))
        for name, (op, neutral) in zip(node.input[1:], affine, strict=False):
            if (self.constants[name] != neutral).any():
                value = self.graph.call_function(op, (value, self.tensor(name)))
        self.values[node.output[0]] = value

    def _plain(self, name: str) -> Any:
        return self.constants[name].tolist() if name else None

    def tensor(self, name: str) -> fx.Node | None:
        """The value of a name; None for an empty one."""
        if not name:
            return None
        if name not in self.values:
            self.values[name] = self._buffer(name, self.constants[name])
        return self.values[name]

    def _buffer(self, name: str, array: NDArray[Any]) -> fx.Node:
        attribute = "".join(c if c.isalnum() else "_" for c in f"c_{name}")
        array = array.astype(np.int8) if array.dtype.name == "int4" else np.array(array)
        self.root.register_buffer(attribute, torch.from_numpy(array))
        return self.graph.get_attr(attribute)

    def quantize(self, node: onnx.NodeProto) -> None:
        """Translate a QuantizeLinear."""
        scale, zero = (self.constants[name] for name in node.input[1:])
        low, high, dtype = QUANTIZED[zero.dtype]
        arguments = (self.tensor(node.input[0]), float(scale), int(zero), low, high, dtype)
        op = torch.ops.quantized_decomposed.quantize_per_tensor.default
        self.values[node.output[0]] = self.graph.call_function(op, arguments)

    def dequantize(self, node: onnx.NodeProto) -> None:
        """Translate a DequantizeLinear."""
        name, output = node.input[0], node.output[0]
        scale, zero = (self.constants[name] for name in node.input[1:])
        if name in self.constants and self.constants[name].dtype == np.int32:
            self.constants[output] = (self.constants[name] * scale).astype(np.float32)
            return
        low, high, dtype = QUANTIZED[zero.dtype]
        operators = torch.ops.quantized_decomposed
        if scale.ndim == 0:
            kind = "per_tensor"
            parameters: tuple[Any, ...] = (float(scale), int(zero), low, high, dtype)
        else:
            axis = next(a.i for a in node.attribute if a.name == "axis")
            scales = self._buffer(node.input[1], scale)
            zeros = self._buffer(node.input[2], zero.astype(np.int64))
            kind, parameters = "per_channel", (scales, zeros, axis, low, high, dtype)
        if self.float_weights and name in self.constants:
            weights = (self.constants[name].astype(np.float32).T * scale).T
            value: fx.Node | None = self.graph.call_function(
                getattr(operators, f"quantize_{kind}").default,
                (self._buffer(f"{name}_float", weights), *parameters),
            )
        else:
            value = self.tensor(name)
        op = getattr(operators, f"dequantize_{kind}").default
        self.values[output] = self.graph.call_function(op, (value, *parameters))
