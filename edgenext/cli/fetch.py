"""The command `edgenext fetch`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A name in `edgenext models`.")],
) -> None:
    """Download a published checkpoint into the cache."""
    from edgenext import api

    with console.working() as context:
        path = api.fetch(name, context=context)
    console.out.print(str(path))
