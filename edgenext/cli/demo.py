"""The command `edgenext demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Limit, command_line
from edgenext.cli.run import show_verdict
from edgenext.errors import UsageError

DEFAULT_OUT = Path("demo")


@app.command()
def demo(
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The run's folder.")] = DEFAULT_OUT,
    epochs: Annotated[int | None, typer.Option(help="Passes over the images; default: 12.")] = None,
    limit: Limit = None,
    measure_again: Annotated[
        bool, typer.Option("--measure-again", help="Repeat the benchmark of a finished demo.")
    ] = False,
    toml: Annotated[
        Path | None,
        typer.Option(help="Only write the demo's settings there, to edit for `edgenext run`."),
    ] = None,
) -> None:
    """Do it all on embedded images, to see what comes of it.

    EdgeNeXt-XXS is trained on handwritten digits, exported, quantized, evaluated, benchmarked and
    reported, and so is a badly scaled twin of it. Resumes if stopped.
    """
    from edgenext import api

    if toml:
        if (epochs, limit, measure_again, out) != (None, None, False, DEFAULT_OUT):
            raise UsageError(
                "--toml writes the settings as they are and runs nothing",
                "Give it alone, and the other options to `edgenext run`",
            )
        console.out.print(str(api.write_demo_toml(toml)), soft_wrap=True, markup=False)
        return
    with console.working() as context:
        paths = api.demo(
            out=out,
            epochs=epochs,
            limit=limit,
            measure_again=measure_again,
            announce=console.announce,
            command=command_line(),
            context=context,
        )
    show_verdict(paths)
