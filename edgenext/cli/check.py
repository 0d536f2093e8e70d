"""The command that asks vendors' compilers, without a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Json, takes_format_options
from edgenext.errors import RefusedError
from edgenext.options import OptionValues
from edgenext.schema import CheckReport

WIDEST = 60
"""Characters of a name that are shown: converters write whole module paths into it."""


@app.command()
@takes_format_options("check")
def check(
    *,
    artifact: Annotated[Path, typer.Argument(help="A file made by `export` or `quantize`.")],
    target: Annotated[
        str, typer.Option(help="Whose compiler is asked; default: the file's own target.")
    ] = "",
    format_options: OptionValues,
    json: Json = False,
) -> None:
    """Say without a device whether a vendor takes a file, and where every operator lands.

    Ends with 11 if the compiler does not take it, or leaves a part of it to another unit.
    """
    from edgenext import api

    options = {name: str(value) for name, value in format_options.items()}
    with console.busy("asking the compiler"):
        report = api.check(artifact, target, **options)
    console.print_json(report.model_dump(mode="json")) if json else show(report)
    if not report.accepted or report.delegated is False:
        raise typer.Exit(RefusedError.exit_code)


def show(report: CheckReport) -> None:
    """Where operators land, what does not and why, estimates and notes."""
    verdict = "accepted" if report.accepted else "NOT accepted"
    if report.accepted and report.delegated is not None:
        verdict += f", all of it on {report.unit}" if report.delegated else ", not whole"
    line(f"{report.artifact} for {report.target}: {verdict}")
    by = f"{report.compiler} {report.version} ({report.evidence}), {report.seconds:.1f} s"
    line(by if report.partitions is None else f"{by}, partitions: {report.partitions}")
    for place in report.placements:
        operators = ", ".join(f"{n} {operator}" for operator, n in place.operators.items())
        line(f"  {place.unit}  {place.total}  {operators}")
    for refusal in report.refusals:
        shown = [n if len(n) <= WIDEST else f"…{n[-WIDEST:]}" for n in refusal.names]
        names = f" ({console.listed(shown, 3, refusal.count)})" if shown else ""
        line(f"not on {report.unit}: {refusal.count} {refusal.operator}: {refusal.reason}{names}")
    for error in report.errors:
        line(f"error: {error}")
    for name, value in report.estimates.items():
        line(f"estimate: {name.replace('_', ' ')} {value:g}")
    if report.compiled:
        line(f"compiled: {report.compiled}")
    for note in report.notes:
        line(f"note: {note}")


def line(text: str) -> None:
    """One line on stdout; what a file or a compiler says cannot move the cursor or colour it."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    console.out.print(shown, markup=False, soft_wrap=True)
