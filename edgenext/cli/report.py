"""The command `edgenext report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.options import DEFAULT_MAX_DROP


@app.command()
def report(
    run_dirs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="A folder made by `edgenext run`.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Folder for the report; for several, one folder each in it."
        ),
    ] = None,
    max_drop: Annotated[
        float, typer.Option(help="Points of top-1 that INT8 may cost.")
    ] = DEFAULT_MAX_DROP,
) -> None:
    """Write the report of each run: HTML, Markdown and JSON."""
    from edgenext import api

    for path in api.report(run_dirs, out, max_drop=max_drop):
        console.out.print(str(path))
