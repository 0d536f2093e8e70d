"""Our INT8 engine: a float deployment graph and calibration batches in, a Q/DQ graph out."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from edgenext.errors import ArtifactError
from edgenext.graph.sites import read
from edgenext.quantize import gated_activation as gate
from edgenext.quantize import qdq
from edgenext.quantize.calibrate import Batches, TensorStats, calibrate
from edgenext.quantize.dynamic import store_rounded
from edgenext.quantize.equalise import equalise, watched
from edgenext.quantize.plan import Plan, choose_ranges, make_plan
from edgenext.quantize.ranges import QParams, clipped
from edgenext.quantize.recipe import Recipe
from edgenext.quantize.weights import layer_weights
from edgenext.system.progress import Progress, quiet

GELU_OPSET = 20
"""The first opset that has GELU whole."""


@dataclass(frozen=True)
class Quantized:
    """A quantized graph.

    `reference` is the float graph it rounds: the one that was given, equalised. `kept` maps the
    sites left in float to the reason, `clipped` each tensor to the share of its calibration
    values outside its range.
    """

    model: onnx.ModelProto
    reference: onnx.ModelProto
    kept: dict[str, str]
    clipped: dict[str, float]


@dataclass(frozen=True)
class Prepared:
    """A float graph, equalised, with what calibration saw of its tensors.

    Many plans can be placed from one, with recipes that differ in their sites: `stats` covers the
    tensors of the recipe it was prepared with, `ranges` those that were looked for before.
    """

    model: onnx.ModelProto
    stats: dict[str, TensorStats]
    batches: Batches
    ranges: dict[tuple[str, bool], QParams] = field(default_factory=dict)


def quantize_static(
    model: onnx.ModelProto,
    batches: Batches,
    recipe: Recipe,
    seed: int = 0,
    progress: Progress = quiet,
) -> Quantized:
    """A statically quantized Q/DQ graph of a folded float graph.

    Args:
        model: float ONNX graph in a deployment form, of the recipe's opset or a later one.
        batches: prepared calibration inputs.
        recipe: what to quantize and how.
        seed: of the values sampled for the range search.
        progress: told of both passes over the batches.

    Raises:
        ArtifactError: the graph has no layers to quantize, or is quantized already.
        UsageError: the recipe names a site that is not there.
        DataError: calibration drove a tensor to values that are not finite.
    """
    return place(prepare(model, batches, recipe, seed, progress), recipe, progress)


def prepare(
    model: onnx.ModelProto,
    batches: Batches,
    recipe: Recipe,
    seed: int = 0,
    progress: Progress = quiet,
) -> Prepared:
    """Calibrate a graph and equalise it; see `quantize_static`."""
    float_model = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    LiftConstantsToInitializersPass(size_limit=0)(float_model)  # one kind of constant
    _check(float_model, recipe)
    graph = float_model.graph
    plan = make_plan(graph, recipe)
    if not plan.layers:
        raise ArtifactError("the graph has no convolution or linear layer to quantize")
    names = [tensor.name for tensor in plan.tensors]
    if recipe.equalise:
        names += watched(graph, recipe.equalise)
    stats = calibrate(model, list(dict.fromkeys(names)), batches, seed, progress)
    if recipe.equalise and recipe.weights:
        equalise(graph, stats, recipe.equalise, recipe.weights.limit)
    return Prepared(ir.to_proto(float_model), stats, batches)


def place(prepared: Prepared, recipe: Recipe, progress: Progress = quiet) -> Quantized:
    """Choose ranges, round weights and put both into a copy of the prepared graph."""
    result = ir.from_proto(prepared.model)
    plan = make_plan(result.graph, recipe)
    params = choose_ranges(plan, prepared.stats, recipe, prepared.ranges)
    weights = layer_weights(prepared.model, plan, params, prepared.batches, recipe, progress)
    gated = {read(node) for node in plan.gates}  # clipped on purpose, where the gate is flat
    lost = {
        t.name: clipped(prepared.stats[t.name], params[t.value])
        for t in plan.tensors
        if t.name in prepared.stats and t.value not in gated
    }
    _place(result.graph, plan, params, weights, recipe)
    return Quantized(ir.to_proto(result), prepared.model, plan.kept, lost)


def _check(model: ir.Model, recipe: Recipe) -> None:
    if any(node.op_type == "QuantizeLinear" for node in model.graph):
        raise ArtifactError("the graph is quantized already", "Start from a float export")
    opset = model.opset_imports[""]
    least = max(recipe.opset, GELU_OPSET if recipe.gate else 0)
    if opset < least:
        raise ArtifactError(
            f"a graph of opset {opset} cannot be quantized for {recipe.target}: it has not the "
            "operators or types",
            f"Export it with --opset {least}",
        )


def _place(
    graph: ir.Graph,
    plan: Plan,
    params: dict[ir.Value, QParams],
    weights: dict[ir.Node, qdq.LayerWeights],
    recipe: Recipe,
) -> None:
    """Put the plan into the graph."""
    assert recipe.sites and recipe.activations  # noqa: S101 - parse_recipe saw to it
    edit = qdq.Editor(graph)
    inputs = {node: params[read(node)] for node in (*plan.layers, *plan.gates)}
    sources = {node: read(node) for node in plan.gates}
    quantized = {t.value: qdq.quantize_activation(edit, t, params[t.value]) for t in plan.tensors}
    for node in plan.layers:
        qdq.store_weights(edit, node, weights[node], inputs[node].scale, recipe.sites.bias)
    for node in plan.stored:
        store_rounded(edit, node)
    dtype = "int8" if recipe.activations.dtype.startswith("int") else "uint8"
    for node, i in plan.constants:
        qdq.quantize_constant(edit, node, i, dtype, recipe.activations.symmetric)
    for node in plan.gates:
        if recipe.gate is not None:
            gate.place(edit, node, quantized[sources[node]], inputs[node], recipe.gate)
    qdq.drop_unused_constants(graph)
