"""The terms of a report, explained in a few words each: `glossary.toml`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgenext.benchmark.noise import LEAST_FLOOR
from edgenext.report.evidence import EVIDENCE
from edgenext.report.provenance import lacks_dot_product
from edgenext.report.study import Study
from edgenext.report.text import number, points
from edgenext.schema import Verdict
from edgenext.system.packaged import packaged_rows


@dataclass(frozen=True)
class Term:
    """A row of `glossary.toml`."""

    term: str
    meaning: str
    if_rounded: str = ""


TERMS = packaged_rows("edgenext.report", "glossary.toml", Term)
"""All terms, in the order in which they are shown."""


def glossary(study: Study, verdict: Verdict, used: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Terms and their meanings; `used` are the evidence labels that occur."""
    occurs = {
        "plain-folded": any(e.form for e in study.floats),
        "site": bool(study.summary.kept_float or study.summary.clipping),
        "twin": study.summary.twin is not None,
        "struck-out": any(e.bench and not e.bench.valid for e in study.entries),
        "another-cpu": lacks_dot_product(study.summary.bench.environment),
    }
    rounded = any(e.scheme != "fp32" for e in study.floats)
    values = {"budget": points(verdict.budget), "floor": number(100 * LEAST_FLOOR)}
    for name, row in TERMS.items():
        if occurs.get(name, True):
            more = f" {row.if_rounded}" if rounded and row.if_rounded else ""
            yield row.term, row.meaning.format(**values) + more
    for label, text in EVIDENCE.items():
        if label in used:
            yield label, f"{text}."
