"""What stayed in float and why, and what spoke against the calibration."""

from __future__ import annotations

from dataclasses import dataclass

from edgenext.report.study import Study
from edgenext.report.text import count

TITLE = "What stays in float, and why"
WARNED = "What speaks against the calibration"
SHOWN = 3
"""Names shown of sites that share a reason."""


@dataclass(frozen=True)
class Kept:
    """Sites that stayed in float for one reason."""

    sites: tuple[str, ...]
    reason: str

    @property
    def short(self) -> str:
        """How many, and the first of their names."""
        more = len(self.sites) - SHOWN
        rest = f" and {more:,} more" if more > 0 else ""
        return f"{count(len(self.sites), 'site')}: {', '.join(self.sites[:SHOWN])}{rest}"


def kept_rows(study: Study) -> list[Kept]:
    """Reasons why sites of our INT8 file stayed in float, those with most sites first."""
    by_reason: dict[str, list[str]] = {}
    for site, reason in study.summary.kept_float.items():
        by_reason.setdefault(reason, []).append(site)
    rows = [Kept(tuple(sites), reason) for reason, sites in by_reason.items()]
    return sorted(rows, key=lambda row: -len(row.sites))


def warnings(study: Study) -> list[str]:
    """The warnings in the manifests, each with the files it is about unless that is all of them."""
    by_text: dict[str, list[str]] = {}
    for entry in study.int8:
        for warning in entry.artifact.warnings if entry.artifact else ():
            by_text.setdefault(warning, []).append(entry.label)
    return [
        warning if len(labels) == len(study.int8) else f"{', '.join(labels)}: {warning}"
        for warning, labels in by_text.items()
    ]
