"""Mixed precision: the variants of a recipe that a search tries, with noisy sites left in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import onnx
import onnx_ir as ir

from edgenext.graph.sites import LAYERS, Site, find_sites
from edgenext.quantize.plan import choose_sites
from edgenext.quantize.recipe import Recipe, with_gelu

STEPS = (1, 2, 4, 8, 16, 32)
"""Numbers of sites left in float: each step about doubles the cost."""

ELEMENT = 8
"""Multiply-adds that one element of an operator without weights counts as, about."""


@dataclass(frozen=True)
class RecipeVariant:
    """A recipe to try, and its name."""

    name: str
    recipe: Recipe


def mixed_precision_variants(
    recipe: Recipe, model: onnx.ModelProto, noise: Mapping[str, float]
) -> list[RecipeVariant]:
    """The recipe as it is, with its noisiest sites left in float, and with ReLUs for GELUs.

    Sites are taken by their noise for their work: those that gain most for the least time first.

    Args:
        recipe: of a static scheme.
        model: the float deployment graph.
        noise: share of the logits' energy that each site's rounding adds when it is alone.
    """
    assert recipe.sites is not None  # noqa: S101 - static recipes have sites
    all_sites = find_sites(ir.from_proto(onnx.shape_inference.infer_shapes(model)).graph)
    quantized, _ = choose_sites(all_sites, recipe.sites)
    variants = [RecipeVariant(recipe.scheme, recipe)]
    order = by_noise_per_work(quantized, noise)
    total = sum(noise.get(s.name, 0.0) for s in quantized) or 1.0
    for count in (n for n in STEPS if n < len(order)):
        float_sites = {
            s.name: f"search: alone it makes {100 * noise[s.name] / total:.1f} % of the noise"
            for s in order[:count]
        }
        sites = recipe.sites.model_copy(
            update={"keep_float": recipe.sites.keep_float | float_sites}
        )
        variants.append(
            RecipeVariant(
                f"{recipe.scheme}-keep{count}", recipe.model_copy(update={"sites": sites})
            )
        )
    if recipe.replaces_gelu:
        variants.append(RecipeVariant(f"{recipe.scheme}-relu", with_gelu(recipe, "relu")))
    return variants


def by_noise_per_work(sites: Sequence[Site], noise: Mapping[str, float]) -> list[Site]:
    """Sites whose noise is known, the most noise for the least work first."""
    noisy = [s for s in sites if noise.get(s.name, 0.0) > 0]
    return sorted(noisy, key=lambda s: -noise[s.name] / max(site_work(s), 1))


def site_work(site: Site) -> int:
    """Multiply-adds of a site; an element without weights counts as `ELEMENT` of them."""
    return sum(_node_work(node) for node in site.nodes)


def _node_work(node: ir.Node) -> int:
    shape = node.outputs[0].shape
    size = prod(d for d in shape if isinstance(d, int)) if shape is not None else 0
    weight = node.inputs[1] if node.op_type in LAYERS else None
    if weight is None or weight.const_value is None:
        return ELEMENT * size
    array = weight.const_value.numpy()
    return size * (array.size // len(array))
