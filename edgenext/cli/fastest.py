"""`--target auto` of `export` and `quantize`: what was measured, and the file that is kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgenext.cli import console
from edgenext.cli.export_table import show_export
from edgenext.errors import UsageError
from edgenext.options import AUTO, ExportOptions, ModelOptions, QuantizeOptions
from edgenext.schema import FastestReport


def require_own_choice(given: Iterable[str]) -> None:
    """Refuse options that follow from the target.

    Raises:
        UsageError: one of them was given.
    """
    for option in given:
        raise UsageError(f"--target {AUTO} chooses {option} itself", f"Leave out {option}")


def keep_fastest(
    subject: str | None,
    quantize_options: QuantizeOptions | None,
    model_options: ModelOptions,
    export_options: ExportOptions,
    *,
    out: Path,
    data: str | None = None,
    json: bool = False,
) -> None:
    """Make and measure the files, keep the fastest, and say so."""
    from edgenext import api

    with console.working() as context:
        report = api.fastest(
            subject,
            quantize_options,
            model_options,
            export_options,
            out=out,
            data=data,
            context=context,
        )
    console.print_json(report.model_dump(mode="json")) if json else show_fastest(report)


def show_fastest(report: FastestReport) -> None:
    """A row for each file, the sentence, and the file that is kept."""
    for row in report.files:
        limits = row.speed_ci95
        interval = f" ({limits[0]:.2f} to {limits[1]:.2f})" if limits else ""
        doubt = "" if row.valid else "  not valid"
        console.out.print(
            f"{row.target:<16} {row.scheme:<12} {row.p50_ms:8.2f} ms  "
            f"{row.speed:.2f}x{interval}{doubt}",
            soft_wrap=True,
        )
    for target, command in report.missing.items():
        console.err.print(f"left out: {target}. {command}", soft_wrap=True)
    console.out.print(report.sentence, soft_wrap=True)
    show_export(report.chosen)
