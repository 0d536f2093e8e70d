"""The application the commands join."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="edgenext",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Export, quantize, benchmark and judge EdgeNeXt networks for edge devices.",
)


@app.callback()
def _main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done.")] = False,
) -> None:
    from edgenext.cli.console import set_up_logging

    set_up_logging(verbose)
