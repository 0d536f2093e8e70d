"""The command that asks vendors' compilers, without a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Json, takes_format_options
from edgenext.errors import RefusedError, UsageError, printable
from edgenext.options import OptionValues
from edgenext.schema import CheckReport, RangeReport, RangeRow

WIDEST = 60
"""Characters of a name that are shown: converters write whole module paths into it."""

NEAREST = 12
"""Rows of ranges that are shown beside those without a proof."""


@app.command()
@takes_format_options("check")
def check(
    *,
    artifact: Annotated[
        Path, typer.Argument(metavar="ARTIFACT", help="A file made by `export` or `quantize`.")
    ],
    target: Annotated[
        str, typer.Option(help="Whose compiler is asked; default: the file's own target.")
    ] = "",
    range_: Annotated[
        bool,
        typer.Option(
            "--range", help="Prove that no value overflows, for any image, or say which might."
        ),
    ] = False,
    calib: Annotated[
        str, typer.Option(help="With --range: images whose largest values are shown, too.")
    ] = "",
    n: Annotated[int, typer.Option("-n", min=1, help="How many of these images.")] = 32,
    format_options: OptionValues,
    json: Json = False,
) -> None:
    """Say without a device whether a vendor takes a file, and where every operator lands.

    Ends with 11 if the compiler does not take it, or leaves a part of it to another processor. With
    --range no compiler is asked: it ends with 11 if a float16 value or an int32 sum may overflow.
    """
    from edgenext import api

    if range_:
        if format_options:
            raise UsageError("--range asks no compiler", f"Leave out {', '.join(format_options)}")
        with console.working() as context:
            ranges = api.check_range(
                artifact, target=target, calib=calib or None, n=n, context=context
            )
        console.print_json(ranges.model_dump(mode="json")) if json else show_ranges(ranges)
        if not ranges.proven:
            raise typer.Exit(RefusedError.exit_code)
        return
    if calib:
        raise UsageError("--calib measures ranges", "Add --range")
    options = {name: str(value) for name, value in format_options.items()}
    with console.working() as context:
        report = api.check(artifact, target=target, context=context, **options)
    console.print_json(report.model_dump(mode="json")) if json else show(report)
    if not report.passed:
        raise typer.Exit(RefusedError.exit_code)


def show(report: CheckReport) -> None:
    """Where operators land, what does not and why, estimates and notes."""
    verdict = "accepted" if report.accepted else "NOT accepted"
    if report.accepted and report.delegated is not None:
        verdict += f", {_placed(report)}"
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


def _placed(report: CheckReport) -> str:
    """Where a file that is accepted runs."""
    if report.delegated:
        return f"all of it on {report.unit}"
    if report.beside:
        n = report.others
        operators = "1 operator" if n == 1 else f"{n} operators"
        return f"all of it on the CPU: {report.unit} runs all but {operators}"
    return "not whole"


def show_ranges(report: RangeReport) -> None:
    """Whether all fits, and what is nearest to its limit."""
    sums = sum(row.kind == "accumulator" for row in report.rows)
    counted = f"{len(report.rows) - sums} tensors and {sums} sums"
    floats = ", floats in float16" if report.half else ""
    verdict = (
        f"no value of any image overflows in {counted}"
        if report.proven
        else f"NOT proven for {len(report.unproven)} of {counted}"
    )
    line(f"{report.artifact} for {report.target}{floats}: {verdict}")
    head = ["tensor", "operator", "kind", "type", "bound", "of the limit"]
    rows = [_range_cells(row) for row in report.rows[: len(report.unproven) + NEAREST]]
    if report.n:
        head.append(f"measured on {report.n} images")
    console.table("", head, [cells[: len(head)] for cells in rows])
    for operator in report.unknown:
        line(f"note: nothing is known of what {operator} computes")


def _range_cells(row: RangeRow) -> list[str]:
    """A row of the table of ranges."""
    name = row.tensor if len(row.tensor) <= WIDEST else f"…{row.tensor[-WIDEST:]}"
    name = escape(printable(name))
    bound = "none" if row.bound is None else f"{row.bound:.3g}"
    share = "" if row.share is None else f"{100 * row.share:.2g} %"
    measured = "" if row.measured is None else f"{row.measured:.3g}"
    measured = "overflows" if row.overflowed else measured
    return [name, escape(printable(row.operator)), row.kind, row.type, bound, share, measured]


def line(text: str) -> None:
    """One line on stdout; what a file or a compiler says cannot move the cursor or colour it."""
    console.out.print(printable(text), markup=False, soft_wrap=True)
