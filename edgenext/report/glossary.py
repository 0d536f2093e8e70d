"""The terms of a report, explained in a few words each."""

from __future__ import annotations

from collections.abc import Iterator

from edgenext.benchmark.noise import LEAST_FLOOR
from edgenext.report.evidence import EVIDENCE
from edgenext.report.provenance import lacks_dot_product
from edgenext.report.study import Study
from edgenext.report.text import number, points
from edgenext.schema import Verdict


def glossary(study: Study, verdict: Verdict, used: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Terms and their meanings; `used` are the evidence labels that occur."""
    rounded_float = any(e.scheme != "fp32" for e in study.floats)
    yield (
        "Ship",
        "an INT8 file is shipped when it is faster than every floating-point file, folded ones "
        "too, with the whole 95 % interval of the speed above 1, and the upper end of its drop’s "
        f"interval is within {points(verdict.budget)}."
        + (
            " A float file of lower precision than FP32 counts only if its own drop is within the "
            "same budget."
            if rounded_float
            else ""
        ),
    )
    yield (
        "x as fast",
        "the other file’s latency divided by this file’s: at 2x an inference takes half the time. "
        "The files take turns, round by round, so that a disturbance affects all of them. The "
        "figure is the median of the per-round ratios; the interval is a bootstrap interval over "
        "the rounds, widened by the noise floor.",
    )
    yield (
        "Noise floor",
        "the same file runs at slightly different speeds in different processes. The first file "
        "is therefore measured again, in a second process that takes turns with the others: "
        f"what the two differ by, at least {number(100 * LEAST_FLOOR)} %, is added to every "
        "interval of a speed.",
    )
    yield (
        "Drop",
        "100 × (lost − gained) / n on the same images: lost images were right and became wrong, "
        "gained images were wrong and became right; those that are still wrong with another "
        "answer do not count. The interval is Tango’s score interval, p is "
        "that of McNemar’s exact test. With few images a small drop says little; the interval "
        "shows how little.",
    )
    yield (
        "Same answer, SQNR",
        "how close the logits stay to the base’s, whatever the labels are. They show changes that "
        "are too small to show in the top-1 of n images.",
    )
    if any(e.form for e in study.floats):
        yield (
            "Plain, folded",
            "a plain export has the network’s operators as PyTorch has them; in a folded one, "
            "norms, scales and constants are merged into the layers beside them. Both compute the "
            "same function; the folded one in fewer operators.",
        )
    if study.summary.kept_float or study.summary.clipping:
        yield (
            "Site",
            "a part of the network that can be quantized by itself, such as a layer, an "
            "activation or a residual sum, by its name in PyTorch.",
        )
    if study.summary.twin:
        yield (
            "Twin",
            "the same function with badly scaled channels, which are hard to quantize: a test of "
            "the quantizer, not of the network.",
        )
    if any(e.bench and not e.bench.valid for e in study.entries):
        yield (
            "Struck out",
            "a timing that is not valid, for the reason given under the table. The verdict does "
            "not use it.",
        )
    for label, meaning in EVIDENCE.items():
        if label in used:
            yield label, meaning + "."
    if lacks_dot_product(study.summary.bench.environment):
        yield (
            "Another CPU",
            "this CPU multiplies int8 without a dot-product instruction (VNNI, AMX, dotprod or "
            "i8mm). The speed of INT8 differs on a CPU that has one: measure it there.",
        )
