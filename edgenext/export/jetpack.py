"""Generations of JetPack: what their TensorRT takes, and the weights that it wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgenext.files import packaged_rows

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Jetpack:
    """One row of `jetpack.toml`: what the TensorRT of a JetPack generation takes."""

    tensorrt: str
    opset: int
    form: str
    lacks: tuple[str, ...]
    why: str
    float_weights: bool = False
    """Quantized weights must be floats in front of Q/DQ: int8 constants are refused."""


JETPACKS = packaged_rows("edgenext.export", "jetpack.toml", Jetpack)


def with_float_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with int8 constants as floats that QuantizeLinear takes to their levels."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in copy.graph.initializer}
    nodes = []
    for node in copy.graph.node:
        stored = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if stored is not None:
            levels, scale = (numpy_helper.to_array(constants[n]) for n in node.input[:2])
            wide = (levels.astype(np.float32).T * scale).T
            stored.CopyFrom(numpy_helper.from_array(wide, stored.name))
            name = f"{stored.name}_levels"
            quantize = helper.make_node("QuantizeLinear", list(node.input), [name], name)
            quantize.attribute.extend(node.attribute)
            node.input[0] = name
            nodes.append(quantize)
        nodes.append(node)
    del copy.graph.value_info[:]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy
