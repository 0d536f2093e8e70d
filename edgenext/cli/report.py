"""The command `edgenext report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(help="A folder made by `edgenext run`.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for the report.")] = None,
    max_drop: Annotated[float, typer.Option(help="Points of top-1 that INT8 may cost.")] = 1.0,
) -> None:
    """Write the report of a run: HTML, Markdown and JSON."""
    from edgenext import api

    for path in api.report(run_dir, out, max_drop=max_drop):
        console.out.print(str(path))
