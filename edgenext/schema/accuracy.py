"""Accuracies of networks and artifacts, and their paired drops."""

from __future__ import annotations

from typing import Literal

from edgenext.schema.base import Evidence, Record, SubsetInfo

BudgetOutcome = Literal["under", "over", "undecided"]
"""On which side of a budget the interval of a drop is."""


class EvalResult(Record):
    """One row of `eval --json`: top-1 and top-5 in percent, mean cross-entropy, n images."""

    artifact: str
    top1: float
    top5: float
    loss: float
    n: int
    sha256: str = ""
    scheme: str = ""
    runtime: str = ""
    evidence: Evidence = "host"
    data: SubsetInfo | None = None
    fallback: str = ""
    """What the runtime computed instead of what the file asks for, such as bf16 as f32."""

    @property
    def name(self) -> str:
        """The artifact's name."""
        return self.artifact


class EvalReport(Record):
    """`eval --json`."""

    results: tuple[EvalResult, ...]


class Drop(Record):
    """A paired drop in points: 100·(lost − gained)/n with its 95 % interval.

    `lost` counts right→wrong, `gained` wrong→right. `interval` says what `ci95` and `p_value` are:
    `tango`, Tango's interval and McNemar's exact test, for a number of images that was fixed
    before; or `sequence`, a confidence sequence, which also holds where images were evaluated only
    until a budget was decided.
    """

    points: float
    ci95: tuple[float, float]
    lost: int
    gained: int
    p_value: float
    interval: Literal["tango", "sequence"] = "tango"


class BudgetDecision(Record):
    """How a budget was decided before all images were used.

    `outcome` is on which side of `budget`, in points, the interval is. It was decided after `n` of
    the `available` images; `undecided` means that all of them did not decide it. The order of the
    images was drawn with `seed` before any was evaluated: `order_sha256` is of all their hashes in
    that order, a line each. After every `shard` images the interval was looked at.
    """

    budget: float
    outcome: BudgetOutcome
    n: int
    available: int
    seed: int
    shard: int
    order_sha256: str


class Accuracy(Record):
    """Top-1 and top-5 in percent."""

    top1: float
    top5: float
    artifact: str = ""
    sha256: str = ""


class Comparison(Record):
    """One artifact compared with the base, on the same images.

    `agreement` is the percentage of equal top-1, `sqnr_db` is of the logits centred per image,
    `cosine` is the mean cosine of the logits, `kl` the mean KL divergence of the softmax in nats.
    """

    artifact: str
    top1: float
    top5: float
    drop: Drop
    agreement: float
    sqnr_db: float
    cosine: float
    kl: float
    sha256: str = ""
    scheme: str = ""
    runtime: str = ""
    evidence: Evidence = "host"
    fallback: str = ""
    """As in `EvalResult`."""
    decision: BudgetDecision | None = None
    """Where images were evaluated only until a budget was decided."""

    @property
    def name(self) -> str:
        """The artifact's name."""
        return self.artifact


class CompareReport(Record):
    """`compare --json`; `evidence` is the base's, the others have their own."""

    n: int
    base: Accuracy
    others: tuple[Comparison, ...]
    data: SubsetInfo | None = None
    evidence: Evidence = "host"

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The others, in the order given."""
        return self.others
