"""Generations of JetPack: the form, opset and weights that their TensorRT takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgenext.errors import UsageError, unknown_name
from edgenext.formats.format import Choices, require_format
from edgenext.system.packaged import packaged_rows

if TYPE_CHECKING:
    import onnx

    from edgenext.options import OptionValues


@dataclass(frozen=True)
class Jetpack:
    """One row of `jetpack.toml`: what the TensorRT of a JetPack generation takes."""

    tensorrt: str
    opset: int
    form: str
    lacks: tuple[str, ...]
    why: str
    float_weights: bool = False
    """Quantized weights must be floats before Q/DQ: the parser refuses int8 constants."""
    uint8: bool = True
    """Inputs may be uint8, if a Cast reads them."""


JETPACKS = packaged_rows("edgenext.formats.tensorrt", "jetpack.toml", Jetpack)


def generation_of(name: str) -> str:
    """The generation of a JetPack release: that of 5.1 is 5.

    Raises:
        UsageError: unknown generation; the nearest names are suggested.
    """
    generation = name.split(".")[0]
    if generation not in JETPACKS:
        raise unknown_name("JetPack generation", generation, JETPACKS)
    return generation


def resolve(choices: Choices) -> Choices:
    """The form and opset that the TensorRT of a JetPack generation takes.

    Raises:
        UsageError: unknown generation, a newer opset than it takes, or uint8 pixels where it takes
            none.
    """
    default = require_format("tensorrt").options["jetpack"].default
    generation = generation_of(str(choices.options.get("jetpack", default)))
    jetpack = JETPACKS[generation]
    opset = choices.opset or jetpack.opset
    if opset > jetpack.opset:
        raise UsageError(
            f"TensorRT {jetpack.tensorrt} of JetPack {generation} takes opset "
            f"{jetpack.opset} at most, not {opset}",
            "Leave --opset out",
        )
    if choices.pixels and not jetpack.uint8:
        raise UsageError(
            f"TensorRT {jetpack.tensorrt} of JetPack {generation} has no uint8 inputs",
            "Leave --uint8-input out",
        )
    return replace(
        choices,
        options={**choices.options, "jetpack": generation},
        form=choices.form or jetpack.form,
        opset=opset,
        opset_limit=jetpack.opset,
    )


def rewrite(model: onnx.ModelProto, options: OptionValues) -> onnx.ModelProto:
    """The graph, with its weights as the parser of the JetPack generation takes them."""
    generation = str(options["jetpack"])
    return with_float_weights(model) if JETPACKS[generation].float_weights else model


def with_float_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph whose int8 constants are floats that QuantizeLinear rounds to the same."""
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
            weights = (levels.astype(np.float32).T * scale).T
            stored.CopyFrom(numpy_helper.from_array(weights, stored.name))
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
