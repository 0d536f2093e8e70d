"""What single sites cost, and where files part."""

from __future__ import annotations

from typing import Literal

from edgenext.schema.base import Record, SubsetInfo


class SiteEffect(Record):
    """Fidelity of a quantized graph to its float network: dB, nats, percent.

    `top1` is None where there were no labels.
    """

    sqnr_db: float
    kl: float
    agreement: float
    top1: float | None = None


class SiteRow(Record):
    """One site of a network: quantized alone, and the recipe with this site changed.

    `changed` is the recipe with the site left in float or, where the recipe leaves it in float
    (`kept` says why), with the site quantized too.
    """

    site: str
    kind: str
    kept: str
    only: SiteEffect
    changed: SiteEffect


class SensitivityReport(Record):
    """`sensitivity --json`: every site in graph order; `recipe` is the recipe as it is."""

    model: str
    sha256: str
    target: str
    scheme: str
    n: int
    recipe: SiteEffect
    rows: tuple[SiteRow, ...]
    images: SubsetInfo
    calibration: SubsetInfo


class SiteDifference(Record):
    """How near one site's output in a file is to the same site's in another, over all images.

    `sqnr_db` is within ±200: 200 where both are equal, −200 where a value is no number. `loss_db`
    is what is lost since the site before, None at the first; `kind` is empty where neither file
    tells it.
    """

    site: str
    kind: str
    sqnr_db: float
    loss_db: float | None


class DiffReport(Record):
    """`diff --json`: where the file `b` parts from the file `a`, sites in the network's order.

    `first` is the first site below `threshold_db`, empty if none is; `most` are those that add most
    noise for their signal. `logits_db` is the SQNR of the centred logits, `agreement` the percent
    of equal top-1, `max_abs` the largest difference of a logit, None where one is no number.
    """

    a: str
    b: str
    sha256: tuple[str, str]
    runtimes: tuple[str, str]
    n: int
    threshold_db: float
    equal: bool
    first: str
    most: tuple[str, ...]
    sites: tuple[SiteDifference, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    unlike: tuple[str, ...]
    """Sites whose tensors have not as many values in the one as in the other."""
    untraced: tuple[str, ...]
    """Those of the two whose runtime shows no tensors: the logits alone are compared."""
    fitted: Literal["", "scale", "scale and offset"]
    """What was undone in every channel, because the files differ in it and compute the same."""
    logits_db: float
    agreement: float
    max_abs: float | None
    images: SubsetInfo
    sentence: str
