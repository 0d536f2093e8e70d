"""The plan: which sites, nodes and tensors are quantized and to which scales, before any edit."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from edgenext.graph.sites import (
    ACTIVATIONS,
    LAYERS,
    Site,
    find_sites,
    first_input,
    site_exceptions,
)
from edgenext.quantize.calibrate import TensorStats
from edgenext.quantize.gated_activation import float_function
from edgenext.quantize.hard_gelu import is_hardenable
from edgenext.quantize.ranges import QParams, choose_range
from edgenext.quantize.recipe import Recipe, Sites
from edgenext.system.threads import in_threads

MOVES = ("Split", "Reshape", "Transpose")
"""Operators that only move their input's values: they keep its scale, and need it quantized."""

NOT_HARD = "Not a GELU between two layers, which could become a hard one."
"""Why an activation stays as it is where GELUs become hard ones."""

Special = Literal["", "gate's input", "hard GELU's output"]
RangeKey = tuple[str, Special]
"""The name of a range's tensor, and what decides its range beside its values."""


@dataclass(frozen=True)
class PlannedTensor:
    """A float tensor that will be quantized.

    `readers` (node, input) get it through Q/DQ: all of them where its producer is quantized too,
    else the quantized ones alone, so that float sites read the float tensor.
    """

    value: ir.Value
    readers: tuple[tuple[ir.Node, int], ...]

    @property
    def name(self) -> str:
        """The name of the float tensor."""
        return str(self.value.name)


@dataclass(frozen=True)
class Plan:
    """Sites, nodes and tensors that will be quantized, in graph order.

    `gates` are the activations that become look-up tables, `hard` those that become hard ones in
    float; `float_sites` maps the sites that stay float to the reason; `weight_only` are layers that
    compute in float from int8 weights.
    """

    sites: tuple[Site, ...]
    float_sites: dict[str, str]
    nodes: tuple[ir.Node, ...]
    gates: tuple[ir.Node, ...]
    tensors: tuple[PlannedTensor, ...]
    weight_only: tuple[ir.Node, ...] = ()
    hard: tuple[ir.Node, ...] = ()

    @property
    def constants(self) -> list[tuple[ir.Node, int]]:
        """Float constants that quantized nodes read, without the weights of layers."""
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


def choose_sites(sites: dict[str, Site], options: Sites) -> tuple[list[Site], dict[str, str]]:
    """The sites a recipe quantizes, and those that stay float with the reason.

    Raises:
        UsageError: an exception that matches no site; the nearest names are suggested.
    """
    exceptions = site_exceptions(options.keep_float, sites)
    quantized: list[Site] = []
    float_sites: dict[str, str] = {}
    for site in sites.values():
        if site.name in exceptions:
            float_sites[site.name] = exceptions[site.name]
        elif site.kind not in options.quantize:
            float_sites[site.name] = options.float_kinds.get(site.kind, options.reason)
        else:
            quantized.append(site)
    return quantized, float_sites


def make_plan(graph: ir.Graph, recipe: Recipe) -> Plan:
    """Choose sites, nodes and tensors.

    Raises:
        UsageError: the recipe names a site that the graph does not have.
    """
    assert recipe.sites is not None  # noqa: S101 - parse_recipe requires the section
    all_sites = find_sites(graph)
    sites, float_sites = choose_sites(all_sites, recipe.sites)
    hard: list[ir.Node] = []
    activations: list[ir.Node] = []
    if recipe.hard_gelu:
        activations = [n for site in sites for n in site.nodes if n.op_type in ACTIVATIONS]
        hard = [node for node in activations if is_hardenable(node)]
        others = set(activations) - set(hard)
        float_sites |= {site.name: NOT_HARD for site in sites if others & set(site.nodes)}
        sites = [site for site in sites if site.name not in float_sites]
    candidates = {node for site in sites for node in site.nodes}
    candidates -= set(activations)  # hard ones read and write floats
    values: dict[ir.Value, None] = {}  # an ordered set
    nodes: list[ir.Node] = []
    for node in (n for n in graph if n in candidates):
        inputs = [v for v in node.inputs if v is not None and v.const_value is None]
        if not inputs or (node.op_type in MOVES and inputs[0] not in values):
            continue
        nodes.append(node)
        values |= dict.fromkeys(inputs)
        if recipe.sites.outputs:
            final = recipe.sites.graph_outputs
            values |= dict.fromkeys(v for v in node.outputs if final or not v.is_graph_output())
    for node in hard:  # a runtime may compute them where it rounds what the layer in front gives
        values.pop(first_input(node), None)
    gates = [n for n in nodes if n.op_type in ACTIVATIONS] if recipe.gate else []
    tensors = tuple(_plan_tensor(v, set(nodes), recipe.sites.outputs) for v in values)
    weight_only = [
        node
        for site in all_sites.values()
        if site.kind in recipe.sites.weights_only and site.name in float_sites
        for node in site.nodes
        if node.op_type in LAYERS
    ]
    return Plan(
        tuple(sites),
        float_sites,
        tuple(nodes),
        tuple(gates),
        tensors,
        tuple(weight_only),
        tuple(hard),
    )


def _plan_tensor(value: ir.Value, nodes: Collection[ir.Node], outputs: bool) -> PlannedTensor:
    producer = value.producer()
    for_all = producer is None or producer.op_type == "Cast" or (outputs and producer in nodes)
    return PlannedTensor(value, tuple((n, i) for n, i in value.uses() if for_all or n in nodes))


def _special(
    value: ir.Value, gate_inputs: Collection[ir.Value], hard_outputs: Collection[ir.Value]
) -> Special:
    if value in gate_inputs:
        return "gate's input"
    return "hard GELU's output" if value in hard_outputs else ""


def choose_ranges(
    plan: Plan,
    stats: dict[str, TensorStats],
    recipe: Recipe,
    known: dict[RangeKey, QParams],
) -> dict[ir.Value, QParams]:
    """Scale and zero point of every tensor.

    Values that only move keep their scale, pixels are bytes already, and the range of a gate's
    input is chosen by the error of the gate's output. Ranges that were searched before are taken
    from `known`; new ones are added.
    """
    assert recipe.activations is not None  # noqa: S101 - parse_recipe requires the section
    options = recipe.activations
    gates = {first_input(node): node for node in plan.gates}
    params: dict[ir.Value, QParams] = {}
    searched: dict[ir.Value, RangeKey] = {}
    hard = {node.outputs[0] for node in plan.hard}
    for tensor in plan.tensors:
        value, producer = tensor.value, tensor.value.producer()
        if producer is not None and producer in plan.nodes and producer.op_type in MOVES:
            continue
        if producer is not None and producer.op_type == "Cast":
            params[value] = QParams(1.0, 0)
        else:
            searched[value] = tensor.name, _special(value, gates, hard)

    def search(value: ir.Value) -> QParams:
        function = float_function(gates[value], recipe.gate) if value in gates else None
        return choose_range(stats[str(value.name)], options, function)

    new = [value for value, key in searched.items() if key not in known]
    known |= {searched[value]: q for value, q in zip(new, in_threads(search, new), strict=True)}
    params |= {value: known[key] for value, key in searched.items()}
    for tensor in plan.tensors:  # in graph order: what only moves may come of what only moves
        producer = tensor.value.producer()
        if tensor.value not in params and producer is not None:
            params[tensor.value] = params[first_input(producer)]
    return params
