"""How to read a report: what its words mean, in few of them."""

from __future__ import annotations

from collections.abc import Iterator

from edgenext.report.provenance import lacks_dot_product
from edgenext.report.study import Study
from edgenext.report.text import points
from edgenext.report.verdict import Verdict

EVIDENCE = {
    "device": "measured on the hardware named",
    "host": "measured on the CPU of the machine named under “Machine”",
    "simulator": "from the vendor’s functional simulator: accuracy only",
    "emulated": "under emulation: accuracy only",
    "compiler": "what the vendor’s compiler says",
    "estimate": "a vendor’s performance model, not a measurement",
    "published": "somebody else’s figure",
}
"""What each evidence label means."""


def reading(study: Study, verdict: Verdict, used: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Terms and what they mean; `used` are the evidence labels that occur."""
    short = any(e.scheme != "fp32" for e in study.floats)
    yield (
        "Paid",
        "INT8 pays when it is faster than every floating-point file, the folded one included, "
        "with the whole 95 % interval of the speed above 1, and the upper end of its drop’s "
        f"interval is within {points(verdict.budget)}."
        + (" A float file that rounds too counts only within the same budget." if short else ""),
    )
    yield (
        "x as fast",
        "the other’s latency over this one’s: 2x takes half the time. The files take turns, "
        "round by round, so that what disturbs one disturbs all. The figure is the median of the "
        "ratios of each round, the interval a bootstrap’s.",
    )
    yield (
        "Drop",
        "100 × (lost − gained) / n on the same images: lost were right and became wrong, gained "
        "were wrong and became right. The interval is Tango’s, p that of McNemar’s exact test: "
        "with few images a small drop says little, and the interval says how little.",
    )
    yield (
        "Same answer, SQNR",
        "how near the logits stay to the base’s, whatever the labels say. They see changes "
        "that n images cannot.",
    )
    if any(e.bench and not e.bench.valid for e in study.entries):
        yield (
            "Struck out",
            "a timing with something against it, named under the table. It counts for nothing "
            "in the verdict.",
        )
    for label, meaning in EVIDENCE.items():
        if label in used:
            yield label, meaning + "."
    if lacks_dot_product(study.summary.bench.environment):
        yield (
            "Another CPU",
            "this one multiplies int8 without a dot-product instruction (VNNI, AMX, dotprod or "
            "i8mm). On one that has it the speed of INT8 is another: measure there.",
        )
