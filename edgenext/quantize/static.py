"""Static schemes: a float deployment graph and calibration batches in, a Q/DQ graph out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from edgenext.errors import ArtifactError
from edgenext.graph.sites import first_input
from edgenext.quantize.batches import Batches
from edgenext.quantize.calibrate import TensorStats, calibrate
from edgenext.quantize.equalise import equalise, equalised_tensors
from edgenext.quantize.gated_activation import replace_activation
from edgenext.quantize.graph_editor import GraphEditor, drop_unused_constants
from edgenext.quantize.hard_gelu import harden
from edgenext.quantize.moments import kept_inputs
from edgenext.quantize.opset import GELU_OPSET
from edgenext.quantize.plan import Plan, PlannedTensor, RangeKey, choose_ranges, make_plan
from edgenext.quantize.qdq import quantize_activation, quantize_constant, store_weights
from edgenext.quantize.ranges import QParams, clipped_share
from edgenext.quantize.recipe import Recipe
from edgenext.quantize.weight_only import store_rounded
from edgenext.quantize.weights import LayerWeights, layer_weights
from edgenext.schema import Clipping
from edgenext.system.progress import Progress, quiet


@dataclass(frozen=True)
class QuantizedGraph:
    """A quantized graph.

    `reference` is the float graph that it approximates: the original one, equalised. `float_sites`
    maps the sites that stay float to the reason, `clipped` each tensor to how its range cuts its
    calibration values, whose statistics are `stats`. `doubts` are for the manifest's warnings.
    """

    model: onnx.ModelProto
    reference: onnx.ModelProto
    float_sites: dict[str, str] = field(default_factory=dict)
    clipped: dict[str, Clipping] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    stats: dict[str, TensorStats] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedGraph:
    """A float graph, equalised, with the calibration statistics of its tensors.

    It can be quantized by many recipes that differ in their sites: `stats` covers the tensors of
    the recipe it was prepared with, `ranges` caches the ranges that were searched.
    """

    model: onnx.ModelProto
    stats: dict[str, TensorStats]
    ranges: dict[RangeKey, QParams] = field(default_factory=dict)


def quantize_static(
    model: onnx.ModelProto,
    batches: Batches,
    recipe: Recipe,
    seed: int = 0,
    progress: Progress = quiet,
) -> QuantizedGraph:
    """A statically quantized Q/DQ graph of a folded float graph.

    Args:
        model: float ONNX graph in a deployment form, of the recipe's opset or a later one.
        batches: prepared calibration inputs.
        recipe: what to quantize and how.
        seed: of the values sampled for the range search.
        progress: called during the pass over the batches, and while weights are rounded.

    Raises:
        ArtifactError: the graph has no layers to quantize, or is quantized already.
        UsageError: the recipe names a site that the graph does not have.
        DataError: a tensor takes values that are not finite on the calibration images.
    """
    prepared = prepare_graph(model, batches, recipe, seed, progress)
    return quantize_prepared(prepared, recipe, progress)


def prepare_graph(
    model: onnx.ModelProto,
    batches: Batches,
    recipe: Recipe,
    seed: int = 0,
    progress: Progress = quiet,
) -> PreparedGraph:
    """Calibrate a graph and equalise it; see `quantize_static`."""
    float_model = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    LiftConstantsToInitializersPass(size_limit=0)(float_model)  # one kind of constant
    _require_quantizable(float_model, recipe)
    graph = float_model.graph
    plan = make_plan(graph, recipe)
    if not plan.layers:
        raise ArtifactError("the graph has no convolution or linear layer to quantize")
    names = [tensor.name for tensor in plan.tensors]
    names += [str(first_input(node).name) for node in plan.hard]
    if recipe.equalise:
        names += equalised_tensors(graph, recipe.equalise)
    needs_inputs = recipe.weights is not None and recipe.weights.needs_inputs
    kernels = kept_inputs(plan) if needs_inputs else {}
    names = list(dict.fromkeys((*names, *kernels)))
    stats = calibrate(model, names, batches, seed, progress, kernels=kernels)
    if recipe.equalise and recipe.weights:
        equalise(graph, stats, recipe.equalise, recipe.weights.limit)
    return PreparedGraph(ir.to_proto(float_model), stats)


def quantize_prepared(
    prepared: PreparedGraph, recipe: Recipe, progress: Progress = quiet
) -> QuantizedGraph:
    """Choose ranges, round weights and insert both into a copy of the prepared graph."""
    result = ir.from_proto(prepared.model)
    plan = make_plan(result.graph, recipe)
    stats = prepared.stats
    if recipe.hard_gelu:
        stats = harden(result.graph, plan.hard, stats, recipe.hard_gelu)
    params = choose_ranges(plan, stats, recipe, prepared.ranges)
    weights = layer_weights(plan, params, stats, recipe, progress)
    gated = {first_input(node) for node in plan.gates}  # clipped on purpose, where the gate is flat
    sites = {node: site.name for site in plan.sites for node in site.nodes}
    clipped = {
        t.name: clipping(_site_of(t, sites), stats[t.name], params[t.value])
        for t in plan.tensors
        if t.name in stats and t.value not in gated
    }
    _insert_plan(result.graph, plan, params, weights, recipe)
    return QuantizedGraph(
        ir.to_proto(result), prepared.model, plan.float_sites, clipped, stats=stats
    )


def _site_of(tensor: PlannedTensor, sites: Mapping[ir.Node, str]) -> str:
    """The first quantized site that reads a tensor, else the one that gives it."""
    nodes = [node for node, _ in tensor.readers]
    if producer := tensor.value.producer():
        nodes.append(producer)
    return next((sites[node] for node in nodes if node in sites), "")


def clipping(site: str, stats: TensorStats, q: QParams) -> Clipping:
    """How the range of a tensor at a site cuts its calibration values."""
    low, high = q.range
    values = {"low": low, "high": high, "least": stats.low.min(), "most": stats.high.max()}
    values["share"] = clipped_share(stats, q)
    return Clipping(site=site, **{name: float(f"{value:.3g}") for name, value in values.items()})


def _require_quantizable(model: ir.Model, recipe: Recipe) -> None:
    if any(node.op_type == "QuantizeLinear" for node in model.graph):
        raise ArtifactError("the graph is quantized already", "Start from a float export")
    opset = model.opset_imports[""]
    least = max(recipe.opset, GELU_OPSET if recipe.replaces_gelu else 0)
    if opset < least:
        raise ArtifactError(
            f"a graph of opset {opset} cannot be quantized for {recipe.target}: this opset lacks "
            "operators or types that the recipe needs",
            f"Export it with --opset {least}",
        )


def _insert_plan(
    graph: ir.Graph,
    plan: Plan,
    params: dict[ir.Value, QParams],
    weights: dict[ir.Node, LayerWeights],
    recipe: Recipe,
) -> None:
    """Apply the plan to the graph, in place."""
    assert recipe.sites and recipe.activations and recipe.weights  # noqa: S101 - required sections
    edit = GraphEditor(graph)
    inputs = {node: params[first_input(node)] for node in (*plan.layers, *plan.gates)}
    sources = {node: first_input(node) for node in plan.gates}
    quantized = {t.value: quantize_activation(edit, t, params[t.value]) for t in plan.tensors}
    for node in plan.layers:
        scale, bias = inputs[node].scale, recipe.sites.bias
        store_weights(edit, node, weights[node], scale, bias, int4_as=recipe.weights.int4_as)
    for node in plan.weight_only:
        store_rounded(edit, node)
    dtype = "int8" if recipe.activations.dtype.startswith("int") else "uint8"
    for node, i in plan.constants:
        quantize_constant(edit, node, i, dtype, recipe.activations.symmetric)
    for node in plan.gates:
        if recipe.gate is not None:
            replace_activation(edit, node, quantized[sources[node]], inputs[node], recipe.gate)
    drop_unused_constants(graph)
