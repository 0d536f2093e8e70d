"""Which site costs what: every site quantized alone, and the recipe with that site changed.

Each figure is of a real Q/DQ graph that onnxruntime ran. Weights are rounded to the nearest and
biases are left alone: what one site's rounding does is to be seen, not what its neighbours can
make up for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from pydantic import ValidationError

from edgenext.errors import UsageError
from edgenext.formats.onnx.session import inference_session
from edgenext.graph.sites import KINDS, find_sites, match
from edgenext.metrics.fidelity import fidelity
from edgenext.quantize.calibrate import Batches
from edgenext.quantize.engine import Prepared, place, prepare
from edgenext.quantize.plan import chosen_sites
from edgenext.quantize.recipe import Recipe, Sites
from edgenext.schema import SiteEffect, SiteRow
from edgenext.system.files import write_text
from edgenext.system.progress import Progress, quiet
from edgenext.targets.scheme import CALIBRATED

Labels = NDArray[np.int64]
Known = TypeVar("Known", SiteEffect, SiteRow)


@dataclass(frozen=True)
class Question:
    """A float graph, a recipe, and the prepared images it is judged on (not calibrated ones)."""

    model: onnx.ModelProto
    recipe: Recipe
    calibration: Batches
    images: Batches
    labels: Labels | None
    seed: int = 0


def sensitivity(
    question: Question,
    cache: Path,
    pattern: str = "*",
    progress: Progress = quiet,
) -> tuple[SiteEffect, list[SiteRow]]:
    """The recipe's own figures, and a row for every site in graph order.

    Args:
        question: what is asked.
        cache: folder of the rows that are known already; each is written when it is measured, so
            that a stopped run goes on where it was.
        pattern: a site's name, or a pattern of names.
        progress: told of every site.

    Raises:
        UsageError: a pattern that fits no site.
    """
    bench = _Bench(question)
    names = match(pattern, bench.sites)
    known = _Record(cache / f"{_key(question)}.json")
    base = known.effect("recipe", bench.whole)
    rows = []
    for done, name in enumerate(names, 1):
        rows.append(known.row(name, partial(bench.row, name)))
        progress("quantizing site by site", done, len(names))
    return base, rows


def require_sites(recipe: Recipe) -> None:
    """Refuse a scheme in which sites do not differ.

    Raises:
        UsageError: it is not static.
    """
    if recipe.scheme not in CALIBRATED:
        raise UsageError(
            f"{recipe.scheme} has no sites to compare", f"Use {' or '.join(CALIBRATED)}"
        )


class _Bench:
    """Makes and runs the variants; calibrates only when something has to be made."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self.recipe = plain(question.recipe)
        assert self.recipe.sites is not None  # noqa: S101 - static recipes have sites
        self._how = self.recipe.sites
        self._ready: tuple[Prepared, NDArray[np.float32]] | None = None
        self.sites = find_sites(ir.from_proto(question.model).graph)
        chosen, self.kept = chosen_sites(self.sites, self._how)
        self.chosen = {site.name for site in chosen}

    def whole(self) -> SiteEffect:
        """The recipe as it is."""
        return self._effect(self._how)

    def row(self, name: str) -> SiteRow:
        """One site: alone, and the recipe without it (with it, where the recipe keeps it float)."""
        site = self.sites[name]
        others = {n: "not asked for" for n in self.sites if n != name}
        only = self._effect(_sites(self._how, keep_float=others))
        kept = {n: reason for n, reason in self.kept.items() if n != name}
        if name in self.chosen:
            kept[name] = "asked for"
        return SiteRow(
            site=name,
            kind=site.kind,
            kept=self.kept.get(name, ""),
            only=only,
            changed=self._effect(_sites(self._how, keep_float=kept)),
        )

    def _effect(self, how: Sites) -> SiteEffect:
        if self._ready is None:
            q = self._question
            every = self.recipe.model_copy(update={"sites": _sites(self._how, keep_float={})})
            prepared = prepare(q.model, q.calibration, every, q.seed)
            self._ready = prepared, _run(q.model, q.images)
        prepared, reference = self._ready
        made = place(prepared, self.recipe.model_copy(update={"sites": how}))
        logits = _run(made.model, self._question.images)
        near = fidelity(reference, logits)
        labels = self._question.labels
        return SiteEffect(
            sqnr_db=near.sqnr_db,
            kl=near.kl,
            agreement=near.agreement,
            top1=None if labels is None else 100 * float(np.mean(logits.argmax(1) == labels)),
        )


def plain(recipe: Recipe) -> Recipe:
    """The recipe with weights rounded to the nearest and biases as they are."""
    assert recipe.weights is not None  # noqa: S101 - static recipes have weights
    weights = recipe.weights.model_copy(
        update={"rounding": "nearest", "fit": 0.0, "correct_bias": False}
    )
    return recipe.model_copy(update={"weights": weights})


def _sites(how: Sites, keep_float: dict[str, str]) -> Sites:
    """Every kind, but these sites."""
    return how.model_copy(update={"quantize": KINDS, "keep_float": keep_float, "weights_only": ()})


def _run(model: onnx.ModelProto, images: Batches) -> NDArray[np.float32]:
    session = inference_session(model.SerializeToString(), 0)
    name = model.graph.input[0].name
    logits = [session.run(["logits"], {name: images[i]})[0] for i in range(len(images))]
    return np.concatenate(logits)


def _key(question: Question) -> str:
    """What the rows depend on: graph, recipe, images and seed."""
    digest = hashlib.sha256(question.model.SerializeToString(deterministic=True))
    digest.update(plain(question.recipe).model_dump_json().encode())
    for part in _arrays(question):
        digest.update(part.tobytes())
    digest.update(str(question.seed).encode())
    return digest.hexdigest()[:24]


def _arrays(question: Question) -> Iterator[NDArray[Any]]:
    for batches in (question.calibration, question.images):
        yield from (batches[i] for i in range(len(batches)))
    if question.labels is not None:
        yield question.labels


class _Record:
    """Rows that were measured, in a JSON file that grows by one row at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, Any] = {}
        if path.is_file():
            # a damaged record costs time, not correctness
            try:
                self._found = json.loads(path.read_text())
            except ValueError:
                self._found = {}

    def effect(self, name: str, measure: Callable[[], SiteEffect]) -> SiteEffect:
        return self._get(name, SiteEffect, measure)

    def row(self, name: str, measure: Callable[[], SiteRow]) -> SiteRow:
        return self._get(name, SiteRow, measure)

    def _get(self, name: str, kind: type[Known], measure: Callable[[], Known]) -> Known:
        try:
            return kind.model_validate(self._found[name])
        except (KeyError, ValidationError):
            made = measure()
        self._found[name] = made.model_dump(mode="json")
        write_text(self._path, json.dumps(self._found, indent=1) + "\n")
        return made


def noisiest(rows: Sequence[SiteRow]) -> list[SiteRow]:
    """Rows by the noise a site makes alone, the most first."""
    return sorted(rows, key=lambda r: r.only.sqnr_db)
