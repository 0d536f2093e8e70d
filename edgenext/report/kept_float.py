"""The sites that stay in float, with the reasons, and the warnings about the calibration."""

from __future__ import annotations

from dataclasses import dataclass

from edgenext.report.study import Study
from edgenext.report.text import count

TITLE = "What stays in float, and why"
WARNINGS_TITLE = "Warnings about the calibration"
SHOWN = 3
"""Names shown of sites that share a reason."""


@dataclass(frozen=True)
class FloatSites:
    """Sites that stay in float for one reason."""

    sites: tuple[str, ...]
    reason: str

    @property
    def short(self) -> str:
        """How many sites there are, and the first names."""
        more = len(self.sites) - SHOWN
        rest = f" and {more:,} more" if more > 0 else ""
        return f"{count(len(self.sites), 'site')}: {', '.join(self.sites[:SHOWN])}{rest}"


def float_sites(study: Study) -> list[FloatSites]:
    """Sites of this package's INT8 file that stay in float by reason, the most sites first."""
    by_reason: dict[str, list[str]] = {}
    for site, reason in study.summary.kept_float.items():
        by_reason.setdefault(reason, []).append(site)
    rows = [FloatSites(tuple(sites), reason) for reason, sites in by_reason.items()]
    return sorted(rows, key=lambda row: -len(row.sites))


def warnings(study: Study) -> list[str]:
    """The warnings of the manifests, prefixed by their files unless they concern all of them."""
    by_text: dict[str, list[str]] = {}
    for entry in study.int8:
        for warning in entry.artifact.warnings if entry.artifact else ():
            by_text.setdefault(warning, []).append(entry.label)
    return [
        warning if len(labels) == len(study.int8) else f"{', '.join(labels)}: {warning}"
        for warning, labels in by_text.items()
    ]
