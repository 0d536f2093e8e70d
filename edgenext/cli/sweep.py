"""The command `edgenext sweep`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Json
from edgenext.schema import SweepReport, SweepRow

MOST_ROWS = 60
"""Rows that are printed of a table."""


@app.command()
def sweep(
    *,
    config: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="The grid of the sweep.")],
    scheduler: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="A Dask scheduler whose workers do the jobs: tcp://HOST:8786.",
        ),
    ] = "",
    workers: Annotated[
        int | None,
        typer.Option(help="Processes of this machine; default: one a processor, at most 4."),
    ] = None,
    measure_again: Annotated[
        bool, typer.Option("--measure-again", help="Repeat timings that noise made invalid.")
    ] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The sweep's folder.")] = None,
    json: Json = False,
) -> None:
    """Measure every combination of models, schemes and targets.

    Files are made, evaluated and timed, here or by the workers of a scheduler, and nothing twice.
    Stopped, the same command goes on where it was. Ends with 16 if a point failed; one that its
    target refuses is a row that says so.
    """
    from edgenext import api

    settings = api.read_sweep(config, {} if out is None else {"out": out})
    with console.working() as context:
        report = api.sweep(
            settings,
            scheduler=scheduler,
            workers=workers,
            measure_again=measure_again,
            context=context,
        )
    if json:
        console.print_json(report.model_dump(mode="json"))
    else:
        show_sweep(report, settings.out)
    api.require_complete(report, out=settings.out)


def show_sweep(report: SweepReport, out: Path) -> None:
    """The table, what was refused or failed and why, and where all of it is."""
    columns = (
        *("model", "size", "scheme", "target", "device", "seed"),
        *("top-1, %", "drop, points", "SQNR, dB", "p50 ms", "speed"),
    )
    measured = [row for row in report.rows if row.status == "measured"]
    if measured:
        console.table("", columns, [_cells(row) for row in measured[:MOST_ROWS]], text_columns=5)
    if len(measured) > MOST_ROWS:
        console.out.print(f"and {len(measured) - MOST_ROWS} more")
    for row in [row for row in report.rows if row.error][:MOST_ROWS]:
        text = f"{row.status}: {' '.join(filter(None, _point(row)))}: {row.error}"
        console.out.print(text, soft_wrap=True, markup=False)
    counts = Counter(row.status for row in report.rows)
    console.out.print(
        f"{len(report.rows)} points: {', '.join(f'{n} {s}' for s, n in counts.items())}; "
        f"{report.done} jobs done, {report.reused} done before"
    )
    for name in report.files:
        console.out.print(str(out / name), soft_wrap=True)


def _point(row: SweepRow) -> tuple[str, ...]:
    size = "" if row.size is None else str(row.size)
    return (row.model, size, row.scheme, row.target, row.device, str(row.seed))


def _cells(row: SweepRow) -> tuple[str, ...]:
    drop = (
        "" if row.drop is None else f"{row.drop:+.2f} ({row.drop_low:+.2f} to {row.drop_high:+.2f})"
    )
    sqnr = "" if row.sqnr_db is None else f"{row.sqnr_db:.1f}"
    p50 = "" if row.p50_ms is None else f"{row.p50_ms:.2f}"
    speed = "" if row.speed is None else f"{row.speed:.2f}x{'' if row.valid else ' (not valid)'}"
    return (*_point(row), f"{row.top1:.2f}", drop, sqnr, p50, speed)
