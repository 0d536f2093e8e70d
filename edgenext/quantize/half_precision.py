"""The float16 and bfloat16 schemes: the same graph in half the bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import ml_dtypes
import onnx
import onnx_ir as ir
from onnx import TensorProto

from edgenext.graph.ranges import InputRange, Item, Ranges, limit_of, propagate
from edgenext.graph.sites import LAYERS, find_sites
from edgenext.quantize.graph_editor import GraphEditor, drop_unused_constants

LEAST_ELEMENTS = 64
"""Smaller constants stay float32: they save nothing, and epsilons would become zero."""

MOST_ROUNDS = 12
"""How often nodes are added to those that stay float32 before the rest is reported instead."""

HALF_LIMIT = 65504.0
"""float16's largest value."""

FLOAT_ONLY = ("ReduceL2", "Clip", "Resize")
"""Operators that always stay float32: lengths of thousands of values, and limits near zero."""


@dataclass(frozen=True)
class HalfGraph:
    """A graph in float16.

    `in_float32` maps the sites with nodes in float32 to the reason; `doubts` are values of which no
    proof was found that float16 holds them.
    """

    model: onnx.ModelProto
    in_float32: dict[str, str]
    doubts: tuple[str, ...]


def to_fp16(model: onnx.ModelProto, inputs: InputRange) -> HalfGraph:
    """The graph in float16, its inputs and outputs in float32.

    What may leave float16's range for some image stays float32: that is decided by bounds of the
    whole graph (`graph.ranges`), not by images. So do lengths, variances and everything else that
    is divided by, where float16 would round to zero.

    Args:
        model: a float graph.
        inputs: the range of its input.
    """
    named = _named(model)
    in_float32 = _in_float32(named, propagate(named, inputs.low, inputs.high))
    for _ in range(MOST_ROUNDS):
        half = _converted(named, in_float32)
        unproven = _unproven(propagate(half, inputs.low, inputs.high))
        more = _origins(half, named, unproven) - in_float32.keys()
        if not more:
            break
        in_float32 |= dict.fromkeys(more, unproven[0])
    doubts = tuple(f"{item.name} may reach {item.bound:.2g}" for item in unproven)
    return HalfGraph(half, _by_site(named, in_float32), doubts)


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose nodes all have names of their own, with the types of its tensors."""
    copy = onnx.shape_inference.infer_shapes(model)
    names: set[str] = set()
    for i, node in enumerate(copy.graph.node):
        if not node.name or node.name in names:
            node.name = f"{node.name}_{i}"
        names.add(node.name)
    return copy


def _in_float32(model: onnx.ModelProto, ranges: Ranges) -> dict[str, Item]:
    """Nodes that float16 cannot hold by their exact values, and those that give divisors."""
    items = {(item.name, item.kind): item for item in ranges.items}
    beyond = {item.name: item for item in ranges.items if not item.bound <= HALF_LIMIT}
    values = {name for name in beyond if not items[name, "value"].bound <= HALF_LIMIT}
    in_float32: dict[str, Item] = {}
    for node in model.graph.node:
        for name in (*node.output, *(n for n in node.input if n in values)):
            bounds = ranges.bounds[name]
            if name in beyond:
                in_float32.setdefault(node.name, beyond[name])
            elif name in node.output and (bounds.norm or bounds.over):
                in_float32.setdefault(node.name, items[name, "value"])
    return in_float32


def _unproven(ranges: Ranges) -> list[Item]:
    """What float16 may not hold, of which all inputs are held."""
    return [
        item
        for item in ranges.items
        if item.dtype == TensorProto.FLOAT16 and not item.bound <= limit_of(item)
    ]


def _origins(half: onnx.ModelProto, model: onnx.ModelProto, unproven: Iterable[Item]) -> set[str]:
    """The original nodes that compute the first unproven values, or read them after a cast."""
    names = {node.name for node in model.graph.node}
    producer = {name: node for node in half.graph.node for name in node.output}
    bad = {item.name for item in unproven if item.kind == "value"}
    origins: set[str] = set()
    for item in unproven:
        node = producer[item.name]
        if any(name in bad for name in node.input):
            continue
        if node.name in names:
            origins.add(node.name)
        if item.kind == "value":
            readers = (n for n in half.graph.node if item.name in n.input)
            origins |= {n.name for n in readers if n.name in names}
    return origins


def _converted(model: onnx.ModelProto, in_float32: Mapping[str, Item]) -> onnx.ModelProto:
    """The graph in float16 but for some nodes."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    converted: onnx.ModelProto = convert_float_to_float16(
        copy,
        keep_io_types=True,
        op_block_list=list(FLOAT_ONLY),
        node_block_list=list(in_float32),
    )
    del converted.graph.value_info[:]
    result = ir.from_proto(converted)
    result.graph.sort()  # the converter appends its casts at the end
    _join(result.graph)
    return ir.to_proto(result)


def _join(graph: ir.Graph) -> None:
    """Take out the casts to float16 and back between two nodes in float32."""
    for node in list(graph):
        if node.op_type != "Cast" or _type_of(node) != ir.DataType.FLOAT:
            continue
        source = node.inputs[0]
        before = source.producer() if source is not None else None
        if before is None or before.op_type != "Cast" or _type_of(before) != ir.DataType.FLOAT16:
            continue
        wide = before.inputs[0]
        if wide is None or (wide.producer() is None and not wide.is_graph_input()):
            continue
        narrowed = node.outputs[0]
        for user, index in tuple(narrowed.uses()):
            user.replace_input_with(index, wide)
        if not narrowed.is_graph_output():
            graph.remove(node, safe=True)
    for node in list(graph)[::-1]:
        unused = not node.outputs[0].uses() and not node.outputs[0].is_graph_output()
        if node.op_type == "Cast" and unused:
            graph.remove(node, safe=True)


def _type_of(cast: ir.Node) -> int:
    return int(cast.attributes["to"].as_int())


def _by_site(model: onnx.ModelProto, in_float32: Mapping[str, Item]) -> dict[str, str]:
    """The sites of nodes that stay float32, with the largest value as the reason."""
    sites = find_sites(ir.from_proto(model).graph)
    reasons: dict[str, str] = {}
    for name, site in sites.items():
        items = [in_float32[str(n.name)] for n in site.nodes if n.name in in_float32]
        if not items:
            continue
        operators = dict.fromkeys(n.op_type for n in site.nodes if n.name in in_float32)
        most = max(item.bound for item in items)
        why = (
            f"may reach {most:.2g}, float16 ends at {HALF_LIMIT:g}"
            if most > HALF_LIMIT
            else "float16 would round small divisors to zero"
        )
        reasons[name] = f"{', '.join(operators)} in float32: {why}"
    return reasons


def to_bf16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its weights stored as bfloat16, for a runtime that computes in bfloat16.

    Everything else stays float32 in the file: the session requests bfloat16 arithmetic.
    """
    result = ir.from_proto(model)
    edit = GraphEditor(result.graph)
    for node in list(result.graph):
        value = node.inputs[1] if node.op_type in LAYERS else None
        if value is None or value.const_value is None or value.const_value.size < LEAST_ELEMENTS:
            continue
        array = value.const_value.numpy().astype(ml_dtypes.bfloat16)
        stored = edit.constant(f"{value.name}_bf16", array)
        widened = edit.node(
            "Cast", (stored,), f"{value.name}_f32", before=node, to=int(ir.DataType.FLOAT)
        )
        node.replace_input_with(1, widened)
    drop_unused_constants(result.graph)
    return ir.to_proto(result)
