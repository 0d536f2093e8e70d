"""The cost of quantizing single sites, and where two files differ."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgenext.schema.base import Record, SubsetInfo


class SiteEffect(Record):
    """Fidelity of a quantized graph to its float network: dB, nats, percent.

    `top1` is None without labels.
    """

    sqnr_db: float
    kl: float
    agreement: float
    top1: float | None = None


class SiteRow(Record):
    """One site of a network: quantized alone, and the recipe with this site changed.

    `changed` is the recipe with the site in float or, if the recipe keeps it in float (`kept` is
    the reason), with the site quantized too.
    """

    site: str
    kind: str
    kept: str
    only: SiteEffect
    changed: SiteEffect


class SensitivityReport(Record):
    """`sensitivity --json`: every site in graph order; `recipe` is the recipe unchanged."""

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
    """How close one site's output in a file is to the same site's in another, over all images.

    `sqnr_db` is within ±200: 200 if both are equal, −200 if a value is not a number. `loss_db` is
    the loss since the previous site, None at the first; `kind` is empty if neither file has it.
    """

    site: str
    kind: str
    sqnr_db: float
    loss_db: float | None


class DiffReport(Record):
    """`diff --json`: where the file `b` differs from the file `a`, sites in the network's order.

    `first` is the first site below `threshold_db`, empty if there is none; `most` are the sites
    that add most noise relative to their signal. `logits_db` is the SQNR of the centred logits,
    `agreement` the percentage of equal top-1, `max_abs` the largest difference of a logit, None if
    one is not a number. Of two backbones `outputs` has the SQNR of each feature map, `logits_db` is
    the least of them and `agreement` None.
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
    """Sites whose tensors differ in their number of values."""
    untraced: tuple[str, ...]
    """Files whose runtime shows no tensors: only their logits are compared."""
    fitted: Literal["", "scale", "scale and offset"]
    """What was fitted in every channel: the files differ in it and compute the same."""
    logits_db: float
    agreement: float | None
    max_abs: float | None
    images: SubsetInfo
    sentence: str
    outputs: dict[str, float] = Field(default_factory=dict)
