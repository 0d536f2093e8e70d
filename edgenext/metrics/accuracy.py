"""The accuracy of artifacts, and their drop from a base, from logits on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import DataError, RuntimeFailedError
from edgenext.formats.session import Logits
from edgenext.metrics.fidelity import chunks, fidelity, log_softmax
from edgenext.metrics.statistics import mcnemar_exact, tango_interval
from edgenext.schema import (
    Accuracy,
    CompareReport,
    Comparison,
    Drop,
    EvalReport,
    EvalResult,
    Evidence,
    SubsetInfo,
)

if TYPE_CHECKING:
    from edgenext.data import ImageSet

Labels = NDArray[np.int64]
"""N int64: the index of each image's class among the K logits."""


@dataclass(frozen=True)
class Predictions:
    """The logits of a network or artifact for every image, N×K, and what results record of it."""

    name: str
    logits: Logits
    sha256: str
    scheme: str
    runtime: str
    evidence: Evidence
    fallback: str = ""
    """What the runtime computed instead of what the file asks for."""


def eval_report(predictions: Sequence[Predictions], images: ImageSet) -> EvalReport:
    """Top-1, top-5 and loss of networks and artifacts on the same images.

    Raises:
        DataError: no images, or labels outside the K classes.
        RuntimeFailedError: logits that are not finite.
    """
    return EvalReport(
        results=tuple(
            score(
                p.name,
                p.logits,
                images.labels,
                sha256=p.sha256,
                scheme=p.scheme,
                runtime=p.runtime,
                evidence=p.evidence,
                data=images.info,
            ).model_copy(update={"fallback": p.fallback})
            for p in predictions
        )
    )


def compare_report(
    base: Predictions, others: Sequence[Predictions], images: ImageSet
) -> CompareReport:
    """The paired drop of others against a base, on the same images.

    Raises:
        DataError: no images, shapes that differ from the base's, or labels outside the K classes.
        RuntimeFailedError: logits that are not finite.
    """
    return CompareReport(
        n=len(images.labels),
        base=accuracy(base.name, base.logits, images.labels, sha256=base.sha256),
        others=tuple(
            paired_comparison(
                other.name,
                base.logits,
                other.logits,
                images.labels,
                base_name=base.name,
                sha256=other.sha256,
                scheme=other.scheme,
            ).model_copy(
                update={
                    "runtime": other.runtime,
                    "evidence": other.evidence,
                    "fallback": other.fallback,
                }
            )
            for other in others
        ),
        data=images.info,
        evidence=base.evidence,
    )


def score(
    name: str,
    values: Logits,
    labels: Labels,
    *,
    sha256: str = "",
    scheme: str = "",
    runtime: str = "",
    evidence: Evidence = "host",
    data: SubsetInfo | None = None,
) -> EvalResult:
    """Top-1, top-5 and mean cross-entropy of logits, N×K, against labels.

    Raises:
        DataError: no images, or labels outside the K classes.
        RuntimeFailedError: logits that are not finite.
    """
    require_scorable(name, values, labels)
    rank = ranks(values, labels)
    loss = sum(
        float(-log_softmax(part)[np.arange(len(part)), labels[at]].sum())
        for at, part in chunks(values)
    )
    return EvalResult(
        artifact=name,
        top1=percent(rank < 1),
        top5=percent(rank < 5),
        loss=loss / len(labels),
        n=len(labels),
        sha256=sha256,
        scheme=scheme,
        runtime=runtime,
        evidence=evidence,
        data=data,
    )


def paired_comparison(
    name: str,
    base: Logits,
    other: Logits,
    labels: Labels,
    *,
    base_name: str = "the base",
    sha256: str = "",
    scheme: str = "",
) -> Comparison:
    """The artifact `name`, with logits `other`, compared with the base on the same images.

    Raises:
        DataError: no images, a shape that differs from the base's, or labels outside the K classes.
        RuntimeFailedError: logits that are not finite.
    """
    if base.shape != other.shape:
        raise DataError(
            f"{name} and {base_name} cannot be compared: logits of {_shape(other)} and "
            f"{_shape(base)} (images × classes)",
            "Evaluate both on the same images; they must have the same classes",
        )
    require_scorable(base_name, base, labels)
    require_scorable(name, other, labels)
    rank = ranks(other, labels)
    closeness = fidelity(base, other)
    return Comparison(
        artifact=name,
        top1=percent(rank < 1),
        top5=percent(rank < 5),
        drop=paired_drop(ranks(base, labels) < 1, rank < 1),
        agreement=closeness.agreement,
        sqnr_db=closeness.sqnr_db,
        cosine=closeness.cosine,
        kl=closeness.kl,
        sha256=sha256,
        scheme=scheme,
    )


def accuracy(name: str, values: Logits, labels: Labels, *, sha256: str = "") -> Accuracy:
    """Top-1 and top-5 without the loss, for the base of a comparison.

    Raises:
        DataError: no images, or labels outside the K classes.
        RuntimeFailedError: logits that are not finite.
    """
    require_scorable(name, values, labels)
    rank = ranks(values, labels)
    return Accuracy(top1=percent(rank < 1), top5=percent(rank < 5), artifact=name, sha256=sha256)


def paired_drop(base_right: NDArray[np.bool_], other_right: NDArray[np.bool_]) -> Drop:
    """The paired drop, from the images that each of two networks got right, N bool each."""
    n = len(base_right)
    lost = int((base_right & ~other_right).sum())
    gained = int((~base_right & other_right).sum())
    return Drop(
        points=100 * (lost - gained) / n,
        ci95=tango_interval(lost, gained, n),
        lost=lost,
        gained=gained,
        p_value=mcnemar_exact(lost, gained),
    )


def ranks(values: Logits, labels: Labels) -> NDArray[np.int64]:
    """The number of classes ranked before each image's own, N int64: 0 is a top-1 hit.

    Among equal logits the lower class comes first, as in numpy's argmax.
    """
    result = np.empty(len(values), np.int64)
    classes = np.arange(values.shape[1])[None, :]
    for at, part in chunks(values):
        label = labels[at, None]
        own = np.take_along_axis(part, label, axis=1)
        result[at] = ((part > own) | ((part == own) & (classes < label))).sum(1)
    return result


def percent(hits: NDArray[np.bool_]) -> float:
    """The share of hits among N images, in percent."""
    return 100 * float(np.mean(hits))


def _shape(values: Logits) -> str:
    return "×".join(map(str, values.shape))


def require_scorable(name: str, values: Logits, labels: Labels) -> None:
    """Refuse logits that have no score.

    Raises:
        DataError: no images, or labels outside the K classes.
        RuntimeFailedError: logits that are not finite.
    """
    if values.ndim != 2 or len(values) == 0 or len(values) != len(labels):
        raise DataError(
            f"{name} cannot be scored: logits of {_shape(values)} for {len(labels)} labels"
        )
    bad = sum(int((~np.isfinite(part)).any(1).sum()) for _, part in chunks(values))
    if bad:
        raise RuntimeFailedError(
            f"{name} gave logits that are not numbers (NaN or infinite) for {bad} of "
            f"{len(values)} images",
            "The file is broken or its runtime overflows: export it again, or use another scheme",
        )
    if labels.min() < 0 or labels.max() >= values.shape[1]:
        raise DataError(
            f"{name} has {values.shape[1]} classes, but labels run from {labels.min()} to "
            f"{labels.max()}",
            "Use a data set with the classes the network was trained on",
        )
