"""The command `edgenext report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import step_summary
from edgenext.options import DEFAULT_MAX_DROP


@app.command()
def report(
    run_dirs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="A folder made by `edgenext run`.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Folder for the report; for several, one folder each in it, and "
            "the page that compares them.",
        ),
    ] = None,
    max_drop: Annotated[
        float, typer.Option(help="Points of top-1 that INT8 may cost.")
    ] = DEFAULT_MAX_DROP,
    against: Annotated[
        Path | None, typer.Option(help="An earlier run: also say what changed since.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="The evaluated images, to show those whose answer changed."),
    ] = None,
) -> None:
    """Write the report of each run: HTML, Markdown and JSON.

    Of several runs, comparison.html has every file on every device side by side.
    With --against it also says what changed since an earlier run, beyond noise.
    """
    from edgenext import api

    paths = api.report(
        run_dirs,
        out,
        max_drop=max_drop,
        against=against,
        data=data,
        step_summary=step_summary(),
    )
    if against:
        for path in paths:
            if path.suffix == ".json":
                show_changes(path)
    for path in paths:
        console.out.print(str(path))


def show_changes(document: Path) -> None:
    """What changed since another run: what is better or worse first."""
    from edgenext.report.changes import changes_table
    from edgenext.schema import ChangeReport

    changes = json.loads(document.read_text("utf-8"))["changes"]
    table = changes_table(ChangeReport.model_validate(changes))
    if table:
        console.table("", table.columns, table.rows, text_columns=4)
        console.out.print(f"{table.about} {table.findings[0]}", soft_wrap=True, markup=False)
