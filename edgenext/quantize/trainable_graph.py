"""A Q/DQ graph as a torch module whose weights and ranges can be trained, and back again.

The module computes what the file computes, Q/DQ by Q/DQ, so what is trained is what is written:
levels, scales and zero points of the graph are replaced, and nothing else.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, fx, nn

from edgenext.formats.torch_graph import OPERATORS, Translation
from edgenext.graph.forms import NORMALIZE_EPS
from edgenext.graph.sites import LAYERS
from edgenext.quantize.fake_quantizers import ActivationQuantizer, Bias, WeightQuantizer
from edgenext.quantize.gated_activation import GATE_OUTPUT
from edgenext.quantize.plan import MOVES
from edgenext.quantize.ranges import QParams
from edgenext.quantize.recipe import Recipe
from edgenext.quantize.weight_only import INT8_LIMIT
from edgenext.quantize.weights import INT4_LIMIT

Array = NDArray[Any]

TINY = NORMALIZE_EPS
"""The least length of a vector in attention, which is divided by."""


def _divide(x: Tensor, y: Tensor) -> Tensor:
    """The quotient, without the infinite gradients at zero.

    A vector that was rounded to zero has the least length; its products are 0, whatever they are
    scaled by: here by 0, whose gradient is 0 too. Where bytes of lengths are 0 themselves, the
    file divides by zero and a quantizer clips the result, as it clips what is so large.
    """
    divisor = torch.where(y.abs() <= 2 * TINY, torch.inf, y)
    return torch.where(y == 0, (x / TINY).detach(), x / divisor)


def _length(x: Tensor, axes: list[int], keepdims: int = 1, **_: Any) -> Tensor:
    squares = (x * x).sum(axes, keepdim=bool(keepdims))
    return torch.sqrt(squares + TINY**2)


class TrainableGraph(Translation):
    """A Q/DQ graph while it is trained; `network` is its module.

    Args:
        model: made by `quantize_static`.
        recipe: that it was made by, whose limits and symmetry are kept.

    Raises:
        ArtifactError: an operator that deployment graphs do not have.
    """

    operators = OPERATORS | {"Div": _divide, "ReduceL2": _length}

    def __init__(self, model: onnx.ModelProto, recipe: Recipe) -> None:
        super().__init__(model)
        self.model, self.recipe = model, recipe
        self.producers = {output: node for node in model.graph.node for output in node.output}
        self.readers = {node.input[1]: node for node in model.graph.node if node.op_type in LAYERS}
        self.layers = [n for n in self.readers.values() if self._is_dequantized(n.input[1])]
        self.float_biases = {n.input[2] for n in self.layers if n.input[2] in self.constants}
        self.quantizers: dict[str, str] = {}
        """Outputs of QuantizeLinear and DequantizeLinear → the quantizer's name."""
        self.network = self.module()
        for layer in self.layers:
            self._complete_bias(layer)

    def quantize(self, node: onnx.NodeProto) -> None:
        """An activation's QuantizeLinear, as a quantizer that also dequantizes."""
        output, source = node.output[0], node.input[0]
        moved = self.producers.get(source)
        if moved and moved.op_type in MOVES and moved.input[0] in self.quantizers:
            # the values are on the grid of the tensor that was moved, and stay on it
            self.quantizers[output] = self.quantizers[moved.input[0]]
            self.values[output] = self.values[source]
            return
        scale, zero = (self.constants[name] for name in node.input[1:])
        assert self.recipe.activations is not None  # noqa: S101 - static recipes have them
        quantizer = ActivationQuantizer(
            QParams(float(scale), int(zero), zero.dtype.name),
            learned=not node.name.endswith(GATE_OUTPUT),
            free_zero=not self.recipe.activations.symmetric,
        )
        self.quantizers[output] = name = self._add("q", node.input[1], quantizer)
        self.values[output] = self.graph.call_module(name, (self.tensor(source),))

    def dequantize(self, node: onnx.NodeProto) -> None:
        """A DequantizeLinear of a constant, of an activation, or of pixels."""
        source, output = node.input[0], node.output[0]
        scale, zero = (self.constants[name] for name in node.input[1:])
        if source in self.constants:
            self._dequantize_constant(node)
        elif source in self.quantizers:
            self.quantizers[output] = self.quantizers[source]
            factor = self._factor(node)
            value = self.values[source]
            if factor != 1:
                value = self.graph.call_function(torch.mul, (value, factor))
            self.values[output] = value
        else:  # pixels, which are bytes from the start
            pixels = QParams(float(scale), int(zero), zero.dtype.name)
            quantizer = ActivationQuantizer(pixels, learned=False, free_zero=False)
            self.quantizers[output] = self._add("q", node.input[1], quantizer)
            value = self.graph.call_function(torch.sub, (self.tensor(source), float(zero)))
            self.values[output] = self.graph.call_function(torch.mul, (value, float(scale)))

    def tensor(self, name: str) -> fx.Node | None:
        """The value of a name; biases of quantized layers are trained."""
        if name in self.float_biases and name not in self.values:
            bias = self._add("b", name, Bias(self.constants[name]))
            self.values[name] = self.graph.call_module(bias)
        return super().tensor(name)

    def written(self) -> onnx.ModelProto:
        """A copy of the graph with the trained levels, scales, zero points and biases."""
        arrays: dict[str, Array] = {}
        for node in self.model.graph.node:
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                arrays |= self._trained(node)
        for layer in self.layers:
            arrays |= self._trained_bias(layer)
        result = onnx.ModelProto()
        result.CopyFrom(self.model)
        for tensor in result.graph.initializer:
            if tensor.name in arrays:
                old = self.constants[tensor.name]
                new = arrays[tensor.name].astype(old.dtype).reshape(old.shape)
                tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
        return result

    def ranges(self) -> dict[str, QParams]:
        """The name of each float tensor that is quantized → its scale and zero point."""
        nodes = [node for node in self.model.graph.node if node.op_type == "QuantizeLinear"]
        result = {}
        for node in nodes:
            quantizer = self._quantizer(node.output[0])
            dtype = self.constants[node.input[2]].dtype.name
            scale, zero = quantizer.scale.item(), int(quantizer.zero_point.item())
            result[node.input[0]] = QParams(scale, zero, dtype)
        return result

    def _add(self, kind: str, name: str, module: nn.Module) -> str:
        attribute = "".join(c if c.isalnum() else "_" for c in f"{kind}_{name}")
        self.root.add_module(attribute, module)
        return attribute

    def _quantizer(self, output: str) -> ActivationQuantizer:
        return cast(ActivationQuantizer, self.network.get_submodule(self.quantizers[output]))

    def _is_dequantized(self, name: str) -> bool:
        producer = self.producers.get(name)
        return producer is not None and producer.op_type == "DequantizeLinear"

    def _factor(self, node: onnx.NodeProto) -> float:
        """What a DequantizeLinear multiplies by beside the scale of its QuantizeLinear."""
        quantize = self.producers.get(node.input[0])
        if quantize is None or quantize.op_type != "QuantizeLinear":
            return 1.0
        scale, own = (float(self.constants[n.input[1]]) for n in (quantize, node))
        return own / scale

    def _dequantize_constant(self, node: onnx.NodeProto) -> None:
        name, output = node.input[0], node.output[0]
        levels = self.constants[name]
        scale, zero = (self.constants[n] for n in node.input[1:])
        if levels.size == 1:  # part of an operator, such as one half
            self.constants[output] = ((levels.astype(np.float32) - zero) * scale).astype(np.float32)
        elif levels.dtype == np.int32:
            values = (levels * scale).astype(np.float32)
            self.values[output] = self.graph.call_module(self._add("b", output, Bias(values)))
        else:
            quantizer = self._weight_quantizer(node, levels, scale, zero)
            self.values[output] = self.graph.call_module(self._add("w", output, quantizer))

    def _weight_quantizer(
        self, node: onnx.NodeProto, levels: Array, scale: Array, zero: Array
    ) -> WeightQuantizer:
        layer = self.readers.get(node.output[0])
        if layer is None:  # a constant in the type of activations
            info = np.iinfo(levels.dtype)
            centred = levels.astype(np.float32) - float(zero)
            return WeightQuantizer(
                centred, scale, float(info.min) - float(zero), float(info.max) - float(zero)
            )
        assert self.recipe.weights is not None  # noqa: S101 - static recipes have them
        limit = self.recipe.weights.limit if self._is_dequantized(layer.input[0]) else INT8_LIMIT
        if np.abs(levels.astype(np.int16)).max() <= INT4_LIMIT:  # int4, however it is stored
            limit = INT4_LIMIT
        return WeightQuantizer(levels.astype(np.float32), scale, -limit, limit)

    def _trained(self, node: onnx.NodeProto) -> dict[str, Array]:
        """The initializers of a Q or DQ that training changed, biases excepted."""
        data, scale, zero = node.input
        key = node.output[0]
        if key in self.quantizers:
            quantizer = self._quantizer(key)
            factor = self._factor(node) if node.op_type == "DequantizeLinear" else 1.0
            trained = np.float32(quantizer.scale.item() * factor)
            return {scale: np.asarray(trained), zero: quantizer.zero_point.detach().numpy()}
        module = self._submodule(f"w_{key}")
        if not isinstance(module, WeightQuantizer):
            return {}
        levels = module.levels.detach().numpy() + float(self.constants[zero].reshape(-1)[0])
        stored = self.producers[data].input[0] if data in self.producers else data
        return {stored: levels, scale: module.scales.detach().numpy().reshape(-1)}

    def _submodule(self, name: str) -> nn.Module | None:
        attribute = "".join(c if c.isalnum() else "_" for c in name)
        return getattr(self.network, attribute, None)

    def _complete_bias(self, layer: onnx.NodeProto) -> None:
        """Let an int32 bias follow the scales of its layer's operands."""
        source, weights, bias = layer.input
        module, of_weights = self._submodule(f"b_{bias}"), self._submodule(f"w_{weights}")
        if bias in self.float_biases or not isinstance(module, Bias):
            return
        if isinstance(of_weights, WeightQuantizer):
            module.quantizers = self._quantizer(source), of_weights

    def _trained_bias(self, layer: onnx.NodeProto) -> dict[str, Array]:
        name = layer.input[2]
        module = self._submodule(f"b_{name}")
        if not isinstance(module, Bias):
            return {}
        if module.quantizers is None:
            return {name: module().detach().numpy()}
        levels, scales = self.producers[name].input[:2]
        return {levels: module.levels.numpy(), scales: module.scales.numpy()}
