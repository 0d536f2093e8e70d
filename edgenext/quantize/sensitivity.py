"""Sensitivity: each site quantized alone, and the recipe with that one site changed.

Each figure is measured on a real Q/DQ graph that onnxruntime runs. Weights are rounded to the
nearest and biases are not corrected: the figures show the effect of one site's rounding, without
what other layers could compensate.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from pydantic import ValidationError

from edgenext.errors import InputError, UsageError
from edgenext.formats.onnx.session import inference_session
from edgenext.graph.sites import KINDS, find_sites, match_sites
from edgenext.metrics.fidelity import fidelity
from edgenext.quantize.batches import Batches
from edgenext.quantize.plan import choose_sites
from edgenext.quantize.recipe import Recipe, Sites
from edgenext.quantize.static import PreparedGraph, prepare_graph, quantize_prepared
from edgenext.schema import SiteEffect, SiteRow
from edgenext.system.files import write_text
from edgenext.system.parsing import read_json
from edgenext.system.progress import Progress, quiet
from edgenext.targets.scheme import CALIBRATED

Labels = NDArray[np.int64]
Entry = TypeVar("Entry", SiteEffect, SiteRow)


@dataclass(frozen=True)
class SensitivityInputs:
    """A float graph, a recipe, and prepared images: some to calibrate on, others to measure on."""

    model: onnx.ModelProto
    recipe: Recipe
    calibration: Batches
    images: Batches
    labels: Labels | None
    seed: int = 0


SITE_BY_SITE = "quantizing site by site"
"""What progress calls the measurement."""


def site_sensitivity(
    inputs: SensitivityInputs,
    cache: Path,
    pattern: str = "*",
    progress: Progress = quiet,
) -> tuple[SiteEffect, list[SiteRow]]:
    """The effect of the whole recipe, and a row for every site in graph order.

    Args:
        inputs: graph, recipe and images.
        cache: file of the rows that were measured before, of the same inputs. Each new row is
            written at once, so that an interrupted run can continue.
        pattern: a site's name, or a pattern of names.
        progress: called after every site.

    Raises:
        UsageError: a pattern that matches no site.
    """
    measurement = _SiteMeasurement(inputs)
    names = match_sites(pattern, measurement.sites)
    rows_cache = _RowCache(cache)
    base = rows_cache.effect("recipe", measurement.recipe_effect)
    rows = []
    progress(SITE_BY_SITE, 0, len(names))
    for done, name in enumerate(names, 1):
        rows.append(rows_cache.row(name, partial(measurement.site_row, name)))
        progress(SITE_BY_SITE, done, len(names))
    return base, rows


def require_sites(recipe: Recipe) -> None:
    """Refuse a scheme whose sites cannot be quantized one by one.

    Raises:
        UsageError: it is not static.
    """
    if recipe.scheme not in CALIBRATED:
        raise UsageError(
            f"{recipe.scheme} has no sites to compare", f"Use {' or '.join(CALIBRATED)}"
        )


class _SiteMeasurement:
    """Makes and runs the changed graphs; calibrates only when the first of them is needed."""

    def __init__(self, inputs: SensitivityInputs) -> None:
        self._inputs = inputs
        self.recipe = without_compensation(inputs.recipe)
        assert self.recipe.sites is not None  # noqa: S101 - static recipes have sites
        self._options = self.recipe.sites
        self._prepared: tuple[PreparedGraph, NDArray[np.float32]] | None = None
        self.sites = find_sites(ir.from_proto(inputs.model).graph)
        quantized, self.float_sites = choose_sites(self.sites, self._options)
        self.quantized = {site.name for site in quantized}

    def recipe_effect(self) -> SiteEffect:
        """Of the recipe as it is."""
        return self._effect(self._options)

    def site_row(self, name: str) -> SiteRow:
        """One site: alone, and the recipe without it (with it, where the recipe keeps it float)."""
        site = self.sites[name]
        others = {n: "not the measured site" for n in self.sites if n != name}
        only = self._effect(_all_sites_but(self._options, others))
        float_sites = {n: reason for n, reason in self.float_sites.items() if n != name}
        if name in self.quantized:
            float_sites[name] = "the measured site"
        return SiteRow(
            site=name,
            kind=site.kind,
            kept=self.float_sites.get(name, ""),
            only=only,
            changed=self._effect(_all_sites_but(self._options, float_sites)),
        )

    def _effect(self, sites: Sites) -> SiteEffect:
        prepared, reference = self._prepare()
        quantized = quantize_prepared(prepared, self.recipe.model_copy(update={"sites": sites}))
        logits = _run(quantized.model, self._inputs.images)
        similarity = fidelity(reference, logits)
        labels = self._inputs.labels
        return SiteEffect(
            sqnr_db=similarity.sqnr_db,
            kl=similarity.kl,
            agreement=similarity.agreement,
            top1=None if labels is None else 100 * float(np.mean(logits.argmax(1) == labels)),
        )

    def _prepare(self) -> tuple[PreparedGraph, NDArray[np.float32]]:
        """The graph, calibrated for all of its sites, and the float network's logits."""
        if self._prepared is None:
            inputs = self._inputs
            recipe = self.recipe.model_copy(update={"sites": _all_sites_but(self._options, {})})
            graph = prepare_graph(inputs.model, inputs.calibration, recipe, inputs.seed)
            self._prepared = graph, _run(inputs.model, inputs.images)
        return self._prepared


def without_compensation(recipe: Recipe) -> Recipe:
    """The recipe with weights rounded to the nearest and biases as they are."""
    assert recipe.weights is not None  # noqa: S101 - static recipes have weights
    weights = recipe.weights.model_copy(
        update={"rounding": "nearest", "fit": 0.0, "correct_bias": False}
    )
    return recipe.model_copy(update={"weights": weights})


def _all_sites_but(options: Sites, float_sites: dict[str, str]) -> Sites:
    """Every kind quantized, except these sites."""
    return options.model_copy(
        update={"quantize": KINDS, "keep_float": float_sites, "weights_only": ()}
    )


def _run(model: onnx.ModelProto, images: Batches) -> NDArray[np.float32]:
    session = inference_session(model.SerializeToString(), 0)
    name = model.graph.input[0].name
    logits = [session.run(["logits"], {name: images[i]})[0] for i in range(len(images))]
    return np.concatenate(logits)


class _RowCache:
    """Measured rows, in a JSON file that grows by one row at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, Any] = {}
        if path.is_file():
            # a damaged cache costs time, not correctness
            with contextlib.suppress(InputError):
                entries = read_json(path)
                self._entries = entries if isinstance(entries, dict) else {}

    def effect(self, name: str, measure: Callable[[], SiteEffect]) -> SiteEffect:
        return self._entry(name, SiteEffect, measure)

    def row(self, name: str, measure: Callable[[], SiteRow]) -> SiteRow:
        return self._entry(name, SiteRow, measure)

    def _entry(self, name: str, kind: type[Entry], measure: Callable[[], Entry]) -> Entry:
        try:
            return kind.model_validate(self._entries[name])
        except (KeyError, ValidationError):
            entry = measure()
        self._entries[name] = entry.model_dump(mode="json")
        write_text(self._path, json.dumps(self._entries, indent=1) + "\n")
        return entry
