"""What will be quantized, and to which scales: decided before the graph is touched."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from edgenext.quantize import gelu, ranges
from edgenext.quantize.calibrate import TensorStats
from edgenext.quantize.ranges import QParams
from edgenext.quantize.recipe import Recipe

LAYERS = ("Conv", "Gemm")
"""Operators with weights."""


@dataclass(frozen=True)
class Plan:
    """Nodes that will run in 8 bits, and the float tensors they read and write, in graph order.

    `gelus` are those that become tables.
    """

    nodes: tuple[ir.Node, ...]
    gelus: tuple[ir.Node, ...]
    tensors: tuple[ir.Value, ...]

    @property
    def layers(self) -> list[ir.Node]:
        """The nodes with weights."""
        return [node for node in self.nodes if node.op_type in LAYERS]


def make_plan(graph: ir.Graph, recipe: Recipe) -> Plan:
    """Choose nodes by operator.

    A Split only moves data: it is quantized where its input already is. Layers that end the
    graph give float outputs.
    """
    nodes: list[ir.Node] = []
    tensors: dict[ir.Value, None] = {}
    for node in graph:
        if node.op_type not in recipe.operators.quantize:
            continue
        inputs = [v for v in node.inputs if v is not None and v.const_value is None]
        if node.op_type == "Split" and inputs[0] not in tensors:
            continue
        nodes.append(node)
        tensors |= dict.fromkeys(inputs)
        tensors |= dict.fromkeys(v for v in node.outputs if not v.is_graph_output())
    gelus: list[ir.Node] = []
    if recipe.gelu.slope:
        gelus = [n for n in graph if n.op_type == "Gelu" and n.inputs[0] in tensors]
        tensors |= dict.fromkeys(n.outputs[0] for n in gelus)
    return Plan(tuple(nodes), tuple(gelus), tuple(tensors))


def choose_ranges(
    plan: Plan, stats: dict[str, TensorStats], recipe: Recipe
) -> dict[ir.Value, QParams]:
    """Scale and zero point of every tensor.

    A Split's outputs keep those of its input, pixels are uint8 already, and what a table reads is
    judged by the error behind the table.
    """
    method = ranges.METHODS[recipe.activations.method]
    through = gelu.table(recipe.gelu.slope)
    tabled = {n.inputs[0] for n in plan.gelus}
    params: dict[ir.Value, QParams] = {}
    for tensor in plan.tensors:
        seen, producer = stats[str(tensor.name)], tensor.producer()
        if producer is not None and producer in plan.nodes and producer.op_type == "Split":
            params[tensor] = params[read(producer)]
        elif producer is not None and producer.op_type == "Cast":
            params[tensor] = QParams(1.0, 0)
        elif tensor in tabled:
            params[tensor] = ranges.mse(seen, through)
        else:
            params[tensor] = method(seen)
    return params


def read(node: ir.Node) -> ir.Value:
    """The first operand of a node."""
    assert node.inputs[0] is not None  # noqa: S101 - every chosen operator has one
    return node.inputs[0]
