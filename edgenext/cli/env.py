"""The command `edgenext env`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.system.environments import NAMES


@app.command()
def env(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"{' or '.join(NAMES)}.")],
) -> None:
    """Make the private environment of a converter that cannot share one, or of JavaScript.

    It is found again by every command that needs it; one that exists is left as it is.
    """
    from edgenext import api

    with console.busy(f"installing what {name} needs"):
        python = api.make_environment(name)
    console.out.print(str(python), soft_wrap=True)
