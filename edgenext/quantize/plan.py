"""What will be quantized, and to which scales: decided before the graph is touched."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from edgenext.graph.sites import ACTIVATIONS, LAYERS, Site, exceptions, find_sites, read
from edgenext.quantize import gated_activation as gate
from edgenext.quantize.calibrate import TensorStats
from edgenext.quantize.qdq import Tensor
from edgenext.quantize.ranges import QParams, choose
from edgenext.quantize.recipe import Recipe, Sites

MOVES = ("Split", "Reshape", "Transpose")
"""Operators whose outputs are their input's values: they keep its scale, and need it quantized."""


@dataclass(frozen=True)
class Plan:
    """Sites, nodes and tensors that will be quantized, in graph order.

    `gates` are the activations that become look-ups; `kept` are the sites left in float, with
    the reason; `stored` are layers that compute in float from int8 weights.
    """

    sites: tuple[Site, ...]
    kept: dict[str, str]
    nodes: tuple[ir.Node, ...]
    gates: tuple[ir.Node, ...]
    tensors: tuple[Tensor, ...]
    stored: tuple[ir.Node, ...] = ()

    @property
    def constants(self) -> list[tuple[ir.Node, int]]:
        """Float constants that quantized nodes read beside their tensors; layers' weights apart."""
        return [
            (node, i)
            for node in self.nodes
            if node.op_type not in LAYERS
            for i, value in enumerate(node.inputs)
            if value is not None
            and value.const_value is not None
            and value.const_value.dtype == ir.DataType.FLOAT
        ]

    @property
    def layers(self) -> list[ir.Node]:
        """The nodes with weights."""
        return [node for node in self.nodes if node.op_type in LAYERS]


def chosen_sites(sites: dict[str, Site], how: Sites) -> tuple[list[Site], dict[str, str]]:
    """The sites a recipe quantizes, and those it leaves in float with the reason.

    Raises:
        UsageError: an exception that fits no site; the nearest names are suggested.
    """
    excepted = exceptions(how.keep_float, sites)
    chosen: list[Site] = []
    kept: dict[str, str] = {}
    for site in sites.values():
        if site.name in excepted:
            kept[site.name] = excepted[site.name]
        elif site.kind not in how.quantize:
            kept[site.name] = how.float_kinds.get(site.kind, how.reason)
        else:
            chosen.append(site)
    return chosen, kept


def make_plan(graph: ir.Graph, recipe: Recipe) -> Plan:
    """Choose sites, nodes and tensors.

    Raises:
        UsageError: the recipe names a site that is not there.
    """
    assert recipe.sites is not None  # noqa: S101 - parse_recipe saw to it
    every = find_sites(graph)
    sites, kept = chosen_sites(every, recipe.sites)
    mine = {node for site in sites for node in site.nodes}
    found: dict[ir.Value, None] = {}
    nodes: list[ir.Node] = []
    for node in (n for n in graph if n in mine):
        inputs = [v for v in node.inputs if v is not None and v.const_value is None]
        if not inputs or (node.op_type in MOVES and inputs[0] not in found):
            continue
        nodes.append(node)
        found |= dict.fromkeys(inputs)
        if recipe.sites.outputs:
            final = recipe.sites.graph_outputs
            found |= dict.fromkeys(v for v in node.outputs if final or not v.is_graph_output())
    gated = [n for n in nodes if n.op_type in ACTIVATIONS] if recipe.gate else []
    tensors = tuple(_tensor(v, set(nodes), recipe.sites.outputs) for v in found)
    stored = [
        node
        for site in every.values()
        if site.kind in recipe.sites.weights_only and site.name in kept
        for node in site.nodes
        if node.op_type in LAYERS
    ]
    return Plan(tuple(sites), kept, tuple(nodes), tuple(gated), tensors, tuple(stored))


def _tensor(value: ir.Value, nodes: Collection[ir.Node], outputs: bool) -> Tensor:
    maker = value.producer()
    whole = maker is None or maker.op_type == "Cast" or (outputs and maker in nodes)
    return Tensor(value, tuple((n, i) for n, i in value.uses() if whole or n in nodes))


def choose_ranges(
    plan: Plan,
    stats: dict[str, TensorStats],
    recipe: Recipe,
    known: dict[tuple[str, bool], QParams],
) -> dict[ir.Value, QParams]:
    """Scale and zero point of every tensor.

    What only moves keeps the scale of what it was, pixels are bytes already, and what a gate
    reads is judged by the error behind the gate. What was searched once is in `known`, by name
    and whether a gate reads it.
    """
    assert recipe.activations is not None  # noqa: S101 - parse_recipe saw to it
    gates = {node.inputs[0]: node for node in plan.gates}
    params: dict[ir.Value, QParams] = {}
    for tensor in plan.tensors:
        value, maker = tensor.value, tensor.value.producer()
        if maker is not None and maker in plan.nodes and maker.op_type in MOVES:
            params[value] = params[read(maker)]
        elif maker is not None and maker.op_type == "Cast":
            params[value] = QParams(1.0, 0)
        else:
            key = tensor.name, value in gates
            if key not in known:
                through = gate.function(gates[value], recipe.gate) if value in gates else None
                known[key] = choose(stats[tensor.name], recipe.activations, through)
            params[value] = known[key]
    return params
