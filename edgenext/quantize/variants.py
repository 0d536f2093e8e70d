"""What a search tries: a recipe with more and more of its noisiest sites left in float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import onnx
import onnx_ir as ir

from edgenext.graph.sites import LAYERS, Site, find_sites
from edgenext.quantize.plan import chosen_sites
from edgenext.quantize.recipe import Recipe

STEPS = (1, 2, 4, 8, 16, 32)
"""How many sites are left in float: each step doubles what it may cost."""

ELEMENT = 8
"""Multiply-adds that handling one element costs where there are no weights, about."""


@dataclass(frozen=True)
class Variant:
    """A recipe to try, and what it is called."""

    name: str
    recipe: Recipe


def variants(recipe: Recipe, model: onnx.ModelProto, noise: Mapping[str, float]) -> list[Variant]:
    """The recipe as it is, and with its noisiest sites left in float.

    Sites are taken in the order of noise for the work they do: what brings most for least time.

    Args:
        recipe: of a static scheme.
        model: the float deployment graph.
        noise: share of the logits' energy that each site's rounding adds when it is alone.
    """
    assert recipe.sites is not None  # noqa: S101 - static recipes have sites
    sites = find_sites(ir.from_proto(onnx.shape_inference.infer_shapes(model)).graph)
    chosen, _ = chosen_sites(sites, recipe.sites)
    found = [Variant(recipe.scheme, recipe)]
    order = ranked(chosen, noise)
    total = sum(noise.get(s.name, 0.0) for s in chosen) or 1.0
    for count in (n for n in STEPS if n < len(order)):
        kept = {
            s.name: f"search: alone it makes {100 * noise[s.name] / total:.1f} % of the noise"
            for s in order[:count]
        }
        how = recipe.sites.model_copy(update={"keep_float": recipe.sites.keep_float | kept})
        found.append(
            Variant(f"{recipe.scheme}-keep{count}", recipe.model_copy(update={"sites": how}))
        )
    return found


def ranked(sites: Sequence[Site], noise: Mapping[str, float]) -> list[Site]:
    """Sites whose noise is known, the most noise for the least work first."""
    known = [s for s in sites if noise.get(s.name, 0.0) > 0]
    return sorted(known, key=lambda s: -noise[s.name] / max(work(s), 1))


def work(site: Site) -> int:
    """Multiply-adds of a site; an element without weights counts as some of them."""
    return sum(_work(node) for node in site.nodes)


def _work(node: ir.Node) -> int:
    shape = node.outputs[0].shape
    size = prod(d for d in shape if isinstance(d, int)) if shape is not None else 0
    weight = node.inputs[1] if node.op_type in LAYERS else None
    if weight is None or weight.const_value is None:
        return ELEMENT * size
    array = weight.const_value.numpy()
    return size * (array.size // len(array))
