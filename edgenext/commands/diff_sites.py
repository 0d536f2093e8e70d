"""Where two files of a network part: every site of the one against the other's, on real images.

The sites are compared in the network's order, as each runtime's `trace` gives them. Two files that
compute the same may still carry a tensor's channels in different units: a quantizer that equalises
chooses a scale for each, and a deployment form moves a norm's affine into the layer behind it.
Where the manifests say so, each channel is first fitted to its counterpart.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenext.commands.subject import Subject
from edgenext.data import ImageSet
from edgenext.errors import DataError
from edgenext.formats.session import Images, Logits, Session, Traceable, filled, outputs
from edgenext.graph.tensors import signal_and_noise
from edgenext.metrics.alignment import Fit, Tally
from edgenext.metrics.fidelity import MOST_DB, fidelity, sqnr_db
from edgenext.schema import LOGITS, DiffReport, Manifest, SiteDifference
from edgenext.system.progress import Progress, quiet

Array = NDArray[Any]

LEAST_IMAGES = 8
"""Images below which fitting every channel of a pooled tensor would explain its noise away."""

ROUNDING_DB = 100.0
"""Above it two files differ by the order of float32 sums, and no site is to blame."""

MOST = 3
"""Sites that are named for the noise they add."""

SITE_BY_SITE = "comparing site by site"
"""What progress calls it."""


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
        assert isinstance(self.session, Traceable)  # noqa: S101 - others are not traced
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


def differing_units(a: Side, b: Side) -> Fit:
    """What the channels of two files that compute the same may differ in."""
    if _one_is_plain(a, b):
        return "scale and offset"
    manifests = [side.manifest for side in (a, b) if side.manifest]
    origins = [(m.source, m.recipe, m.engine, m.calibration, m.qat) for m in manifests]
    if len(origins) == 2 and origins[0] == origins[1]:
        return ""
    return "scale" if any(map(_equalised, manifests)) else ""


def _one_is_plain(a: Side, b: Side) -> bool:
    """Whether only one has the network's affines and scales where PyTorch has them."""
    return (a.form == "naive") != (b.form == "naive")


def _equalised(manifest: Manifest) -> bool:
    section = (manifest.recipe or {}).get("equalise")
    equalised = isinstance(section, dict) and (section.get("streams") or section.get("norms"))
    return bool(equalised) or manifest.engine == "nncf"  # which scales norms as SmoothQuant does


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
        pixels = np.asarray(images[0].images), np.asarray(images[1].images)
        tallies, lone = _compare(a, b, pixels, fit, progress)
    like = {site: tally for site, tally in tallies.items() if not tally.unlike}
    rows = _rows(
        {site: like[site].sqnr_db() for site in a.sites if site in like}, {**b.kinds, **a.kinds}
    )
    first, second = (
        outputs(side.session, side.manifest, part.images)
        for side, part in zip((a, b), images, strict=True)
    )
    maps = {} if LOGITS in first else {n: _features(first[n], second[n]) for n in first}
    if maps:  # the worst decides
        logits_db, max_abs = min(db for db, _ in maps.values()), _largest(maps.values())
        agreement = None
    else:
        logits_db, agreement, max_abs = _logits(first[LOGITS], second[LOGITS])
    what = "feature maps" if maps else LOGITS
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
        outputs={name: db for name, (db, _) in maps.items()},
        agreement=agreement,
        max_abs=max_abs,
        images=images[0].info,
        sentence=_equal(a, b, rows, what)
        if equal
        else _where(a, b, rows, below, threshold_db, most, what),
    )


def _logits(a: Logits, b: Logits) -> tuple[float, float, float | None]:
    """SQNR in dB, percent of equal top-1, and the largest difference."""
    agreement = 100 * float(np.mean(a.argmax(1) == b.argmax(1)))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return -MOST_DB, agreement, None
    return round(fidelity(a, b).sqnr_db, 2), agreement, float(np.abs(a - b).max())


def _features(a: Array, b: Array) -> tuple[float, float | None]:
    """SQNR in dB of a feature map, and the largest difference."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return -MOST_DB, None
    return round(sqnr_db(*signal_and_noise(a, b)), 2), float(np.abs(a - b).max())


def _largest(maps: Collection[tuple[float, float | None]]) -> float | None:
    differences = [difference for _, difference in maps if difference is not None]
    return max(differences) if len(differences) == len(maps) else None


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
        first, second = (
            side.tensors(filled(part[start : start + n], size))
            for side, part in zip((a, b), images, strict=True)
        )
        if _one_is_plain(a, b):
            first, second = _same_meaning(first, a.form), _same_meaning(second, b.form)
        lone = (first.keys() - second.keys(), second.keys() - first.keys())
        for site in (s for s in first if s in second):
            tally = tallies.setdefault(site, Tally(fit))
            tally.add(_rows_of(first[site], n, size), _rows_of(second[site], n, size))
        progress(SITE_BY_SITE, start + n, total)
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


def _equal(a: Side, b: Side, rows: Sequence[SiteDifference], what: str) -> str:
    where = f"at all {len(rows)} sites and in their {what}" if rows else f"in their {what}"
    return f"{a.name} and {b.name} are equal {where}."


def _where(
    a: Side,
    b: Side,
    rows: Sequence[SiteDifference],
    below: Sequence[SiteDifference],
    threshold_db: float,
    most: Sequence[SiteDifference],
    what: str,
) -> str:
    if not rows:
        return f"{a.name} and {b.name} can be compared by their {what} alone."
    if below:
        first = below[0]
        text = (
            f"{b.name} parts from {a.name} at {first.site}, the first of {len(below)} sites "
            f"below {threshold_db:g} dB: {first.sqnr_db:.1f} dB."
        )
    else:
        least = min(rows, key=lambda row: row.sqnr_db)
        text = (
            f"{b.name} stays with {a.name}: none of {len(rows)} sites is below "
            f"{threshold_db:g} dB, the lowest is {least.site} at {least.sqnr_db:.1f} dB."
        )
    names = ", ".join(f"{row.site} ({_from(row)}{row.sqnr_db:.1f} dB)" for row in most)
    return f"{text} Most noise comes in at {names}." if names else text


def _from(row: SiteDifference) -> str:
    return "" if row.loss_db is None else f"{row.sqnr_db + row.loss_db:.1f} to "
