"""Where two files of a network part: every site of the one against the other's, on real images.

The sites are compared in the network's order, as each runtime's `trace` gives them. Two files that
compute the same may still carry a tensor's channels in different units: a quantizer that equalises
chooses a scale for each, and a deployment form moves a norm's affine into the layer behind it.
Where the manifests say so, each channel is first fitted to its counterpart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.commands.context import Context
from edgenext.commands.images import SAMPLE_IMAGES, labelled_images
from edgenext.commands.subject import Subject
from edgenext.data import ImageSet
from edgenext.errors import ArtifactError, DataError, UsageError
from edgenext.export.artifacts import Graph, read_graph
from edgenext.export.onnx import call_size
from edgenext.export.settings import resolve
from edgenext.formats.artifact import distinct_names
from edgenext.formats.onnx.session import tracer
from edgenext.formats.pytorch.session import TorchSession
from edgenext.formats.session import Images, Logits, Session, Traceable, filled, logits
from edgenext.graph.sites import find_sites
from edgenext.graph.tensors import site_tensors
from edgenext.metrics.alignment import Fit, Tally
from edgenext.metrics.fidelity import MOST_DB, fidelity
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import DEFAULT_FORMAT, MODEL, DataOptions, ExportOptions, ModelOptions
from edgenext.schema import DiffReport, Manifest, SiteDifference
from edgenext.system.progress import Progress, quiet

Array = NDArray[Any]

LEAST_IMAGES = 8
"""Images below which fitting every channel of a pooled tensor would explain its noise away."""

ROUNDING_DB = 100.0
"""Above it two files differ by the order of float32 sums, and no site is to blame."""

MOST = 3
"""Sites that are named for the noise they add."""


def diff(
    a: str,
    b: str,
    data: DataOptions | str | Path,
    model_options: ModelOptions = MODEL,
    *,
    threshold_db: float = 30.0,
    context: Context | None = None,
) -> DiffReport:
    """Where two models or artifacts part, site by site: see `edgenext diff`.

    Args:
        a: a model's name or an artifact.
        b: another of the same network.
        data: images; 16 of them unless the options have a limit.
        model_options: where the models' weights come from.
        threshold_db: a site whose SQNR is below it has parted.
        context: what was loaded before.

    Raises:
        UsageError: input sizes, numbers of classes or architectures differ.
        ArtifactError: a file whose sites are not known, or a backbone.
        DataError: the two do not see the same images, or too few of them.
    """
    if not math.isfinite(threshold_db):
        raise UsageError(f"--threshold {threshold_db} is not a number of dB", "Use one such as 30")
    context = context or Context()
    options = DataOptions.of(data)
    options = replace(options, limit=options.limit or SAMPLE_IMAGES)
    subjects = (context.subject(a, model_options), context.subject(b, model_options))
    sides = open_sides(*subjects, context)
    images = [labelled_images(context, subject, options) for subject in subjects]
    return compare_sites(*sides, (images[0], images[1]), threshold_db, context.progress)


class NetworkSession(TorchSession):
    """A PyTorch network; its tensors are those of its float deployment graph."""

    def __init__(self, checkpoint: Checkpoint, graph: Graph) -> None:
        super().__init__(checkpoint.network(), checkpoint.eval)
        self.batch = call_size(graph.model)
        self._tracer = tracer(graph.model)

    def trace(self, prepared: Array) -> dict[str, NDArray[np.float32]]:
        """Every float tensor that the graph makes of one prepared batch, by name."""
        return self._tracer(prepared)


@dataclass(frozen=True)
class Side:
    """One of the two that are compared, loaded: the tensor of each site, and kinds if known."""

    name: str
    subject: Subject
    session: Session
    sites: Mapping[str, str]
    form: str
    kinds: Mapping[str, str]

    @property
    def manifest(self) -> Manifest | None:
        """Of an artifact."""
        return self.subject.artifact.manifest if self.subject.artifact else None

    def tensors(self, images: Images) -> dict[str, Array]:
        """The tensor of every site that the runtime shows, for images that fill its batches."""
        assert isinstance(self.session, Traceable)  # noqa: S101 - the others are not asked
        size = self.session.batch or len(images)
        parts = [
            self.session.trace(self.session.prepare(images[i : i + size]))
            for i in range(0, len(images), size)
        ]
        return {
            site: np.concatenate([part[tensor] for part in parts])
            for site, tensor in self.sites.items()
            if tensor in parts[0]
        }


def open_sides(a: Subject, b: Subject, context: Context) -> tuple[Side, Side]:
    """Load both; a network takes the form of the artifact it is compared with.

    Raises:
        UsageError: input sizes, numbers of classes or architectures differ.
        ArtifactError: a file whose sites are not known, or a backbone.
        RuntimeFailedError: a runtime refuses its file.
    """
    _require_comparable(a, b)
    names = distinct_names([s.artifact.path if s.artifact else Path(s.name) for s in (a, b)])
    return _open_side(names[0], a, b, context), _open_side(names[1], b, a, context)


def _require_comparable(a: Subject, b: Subject) -> None:
    """Refuse two that cannot be the same network."""
    said = [(f"{s.transform.size} px", f"{s.classes[0]} classes", _arch(s)) for s in (a, b)]
    for mine, other in zip(*said, strict=True):
        if mine != other:
            raise UsageError(
                f"{a.name} and {b.name} cannot be compared: {mine} and {other}",
                "Export both from the same weights, with the same --size",
            )


def _arch(subject: Subject) -> str:
    if subject.artifact:
        return subject.artifact.manifest.arch
    return subject.checkpoint.arch if subject.checkpoint else ""


def _open_side(name: str, subject: Subject, other: Subject, context: Context) -> Side:
    if subject.artifact is None:
        assert subject.checkpoint  # noqa: S101 - a subject is one or the other
        form = other.artifact.manifest.form if other.artifact else ""
        graph = context.graph(subject.checkpoint, resolve(ExportOptions(form=form)))
        session = NetworkSession(subject.checkpoint, graph)
        return Side(name, subject, session, site_tensors(graph.model), graph.form, _kinds(graph))
    manifest, loaded = subject.artifact.manifest, subject.session()
    if isinstance(loaded, Traceable) and not manifest.sites:
        raise ArtifactError(
            f"the manifest of {name} does not say where its sites are: it is of an older version",
            "Export it again",
        )
    plain = manifest.format == DEFAULT_FORMAT and not manifest.engine
    kinds = _kinds(read_graph(subject.artifact)) if plain else {}
    return Side(name, subject, loaded, manifest.sites, manifest.form, kinds)


def _kinds(graph: Graph) -> dict[str, str]:
    return {name: site.kind for name, site in find_sites(ir.from_proto(graph.model).graph).items()}


def differing_units(a: Side, b: Side) -> Fit:
    """What the channels of two files that compute the same may differ in."""
    if _one_is_plain(a, b):
        return "scale and offset"
    mine, other = a.manifest, b.manifest
    if mine and other:
        made = [(m.source, m.recipe, m.engine, m.calibration) for m in (mine, other)]
        if made[0] == made[1]:
            return ""
    return "scale" if any(m and _equalised(m) for m in (mine, other)) else ""


def _one_is_plain(a: Side, b: Side) -> bool:
    """Whether only one has the network's affines and scales where PyTorch has them."""
    return (a.form == "naive") != (b.form == "naive")


def _equalised(manifest: Manifest) -> bool:
    how = (manifest.recipe or {}).get("equalise")
    chosen = isinstance(how, dict) and (how.get("streams") or how.get("norms"))
    return bool(chosen) or manifest.engine == "nncf"  # which scales norms as SmoothQuant does


def compare_sites(
    a: Side,
    b: Side,
    images: tuple[ImageSet, ImageSet],
    threshold_db: float,
    progress: Progress = quiet,
) -> DiffReport:
    """Compare two files site by site.

    Args:
        a: what `b` is compared with.
        b: the other.
        images: the same images as each of the two sees them.
        threshold_db: a site below it has parted.
        progress: told of the images that are done.

    Raises:
        DataError: the two do not see the same images, or too few to fit channels on.
        RuntimeFailedError: a runtime refuses an image.
    """
    if not len(images[0]) or images[0].hashes != images[1].hashes:
        raise DataError(f"{a.name} and {b.name} do not see the same images")
    untraced = tuple(s.name for s in (a, b) if not isinstance(s.session, Traceable))
    fit = "" if untraced else differing_units(a, b)
    if fit and len(images[0]) < LEAST_IMAGES:
        raise DataError(
            f"{a.name} and {b.name} are the same up to each channel's {fit}: to fit these takes "
            f"{LEAST_IMAGES} images, not {len(images[0])}",
            f"Use --limit {LEAST_IMAGES} or more",
        )
    tallies: dict[str, Tally] = {}
    lone: tuple[set[str], set[str]] = (set(), set())
    if not untraced:
        tallies, lone = _compare(a, b, (images[0].images, images[1].images), fit, progress)
    like = {site: tally for site, tally in tallies.items() if not tally.unlike}
    rows = _rows(
        {site: like[site].sqnr_db() for site in a.sites if site in like}, {**b.kinds, **a.kinds}
    )
    ours, theirs = (
        np.concatenate(list(logits(side.session, part.images)))
        for side, part in zip((a, b), images, strict=True)
    )
    logits_db, agreement, max_abs = _logits(ours, theirs)
    equal = max_abs == 0 and all(row.sqnr_db == MOST_DB for row in rows)
    below = [row for row in rows if row.sqnr_db < threshold_db]
    most = _most(rows)
    return DiffReport(
        a=a.name,
        b=b.name,
        sha256=(a.subject.sha256, b.subject.sha256),
        runtimes=(a.session.runtime, b.session.runtime),
        n=len(images[0]),
        threshold_db=threshold_db,
        equal=equal,
        first=below[0].site if below else "",
        most=tuple(row.site for row in most),
        sites=rows,
        only_a=tuple(site for site in a.sites if site in lone[0]),
        only_b=tuple(site for site in b.sites if site in lone[1]),
        unlike=tuple(site for site, tally in tallies.items() if tally.unlike),
        untraced=untraced,
        fitted=fit,
        logits_db=logits_db,
        agreement=agreement,
        max_abs=max_abs,
        images=images[0].info,
        sentence=_equal(a, b, rows) if equal else _where(a, b, rows, below, threshold_db, most),
    )


def _logits(a: Logits, b: Logits) -> tuple[float, float, float | None]:
    """SQNR in dB, percent of equal top-1, and the largest difference."""
    agreement = 100 * float(np.mean(a.argmax(1) == b.argmax(1)))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return -MOST_DB, agreement, None
    return round(fidelity(a, b).sqnr_db, 2), agreement, float(np.abs(a - b).max())


def _compare(
    a: Side,
    b: Side,
    images: tuple[Images, Images],
    fit: Fit,
    progress: Progress,
) -> tuple[dict[str, Tally], tuple[set[str], set[str]]]:
    """Every site that both show, summed over all images, and the sites that only one shows."""
    total, size = len(images[0]), math.lcm(a.session.batch or 1, b.session.batch or 1)
    tallies: dict[str, Tally] = {}
    lone: tuple[set[str], set[str]] = (set(), set())
    for start in range(0, total, size):
        n = min(size, total - start)
        mine, other = (
            side.tensors(filled(part[start : start + n], size))
            for side, part in zip((a, b), images, strict=True)
        )
        if _one_is_plain(a, b):
            mine, other = _same_meaning(mine, a.form), _same_meaning(other, b.form)
        lone = (mine.keys() - other.keys(), other.keys() - mine.keys())
        for site in (s for s in mine if s in other):
            tally = tallies.setdefault(site, Tally(fit))
            tally.add(_rows_of(mine[site], n, size), _rows_of(other[site], n, size))
        progress("comparing site by site", start + n, total)
    return tallies, lone


def _rows_of(value: Array, n: int, size: int) -> Array:
    """What belongs to the first `n` of `size` images."""
    return value if n == size else value[: len(value) // size * n]


def _same_meaning(tensors: dict[str, Array], form: str) -> dict[str, Array]:
    """Without the sites that hold something else in the plain form, where a bias is an Add too."""
    if form != "naive":
        return tensors
    return {site: value for site, value in tensors.items() if not site.endswith(".add")}


def _rows(decibels: Mapping[str, float], kinds: Mapping[str, str]) -> tuple[SiteDifference, ...]:
    before = [None, *decibels.values()]
    return tuple(
        SiteDifference(
            site=site,
            kind=kinds.get(site, ""),
            sqnr_db=value,
            loss_db=None if last is None else round(last - value, 2),
        )
        for (site, value), last in zip(decibels.items(), before, strict=False)
    )


def _most(rows: Sequence[SiteDifference]) -> list[SiteDifference]:
    """The sites that add most noise for their signal, the most first; rounding of float32 is none.

    Decibels alone would name whatever comes first behind sites that are equal.
    """
    adding = [row for row in rows if _added(row) > 0 and row.sqnr_db < ROUNDING_DB]
    return sorted(adding, key=_added, reverse=True)[:MOST]


def _added(row: SiteDifference) -> float:
    """Noise over signal of a site, less that of the site before."""
    return _ratio(row.sqnr_db) - (0 if row.loss_db is None else _ratio(row.sqnr_db + row.loss_db))


def _ratio(decibels: float) -> float:
    return float(10 ** (-decibels / 10))


def _equal(a: Side, b: Side, rows: Sequence[SiteDifference]) -> str:
    where = f"at all {len(rows)} sites and in their logits" if rows else "in their logits"
    return f"{a.name} and {b.name} are equal {where}."


def _where(
    a: Side,
    b: Side,
    rows: Sequence[SiteDifference],
    below: Sequence[SiteDifference],
    threshold_db: float,
    most: Sequence[SiteDifference],
) -> str:
    if not rows:
        return f"{a.name} and {b.name} can be compared by their logits alone."
    if below:
        first = below[0]
        said = (
            f"{b.name} parts from {a.name} at {first.site}, the first of {len(below)} sites "
            f"below {threshold_db:g} dB: {first.sqnr_db:.1f} dB."
        )
    else:
        least = min(rows, key=lambda row: row.sqnr_db)
        said = (
            f"{b.name} stays with {a.name}: none of {len(rows)} sites is below "
            f"{threshold_db:g} dB, the lowest is {least.site} at {least.sqnr_db:.1f} dB."
        )
    names = ", ".join(f"{row.site} ({_from(row)}{row.sqnr_db:.1f} dB)" for row in most)
    return f"{said} Most noise comes in at {names}." if names else said


def _from(row: SiteDifference) -> str:
    return "" if row.loss_db is None else f"{row.sqnr_db + row.loss_db:.1f} to "
