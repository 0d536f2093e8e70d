"""The glossary: the terms of reports and docs, from the report's own file."""

from __future__ import annotations

from pagetext import joined

from edgenext.benchmark.noise import LEAST_FLOOR
from edgenext.report.evidence import EVIDENCE
from edgenext.report.glossary import TERMS


def page() -> str:
    """Every term with its meaning, under a heading that links can name."""
    values = {"budget": "the budget (`--max-drop`)", "floor": f"{100 * LEAST_FLOOR:g}"}
    parts = [
        part
        for name, row in TERMS.items()
        for part in (
            f"## {row.term} {{ #{name} }}",
            _sentence(f"{row.meaning.format(**values)} {row.if_rounded}".strip()),
        )
    ]
    evidence = [f"`{label}`\n:   {meaning}." for label, meaning in EVIDENCE.items()]
    return joined(
        "# Glossary",
        "The words of reports and of these pages. Those of the code are in "
        "[Contributing](contributing.md#glossary).",
        *parts,
        "## Evidence",
        "What stands behind a number: see [how numbers are measured](measuring.md#evidence).",
        *evidence,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
