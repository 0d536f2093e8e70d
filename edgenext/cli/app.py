"""The application the commands join."""

from __future__ import annotations

from typing import Annotated

import typer

from edgenext.cli.group import SETTINGS, CommandGroup

app = typer.Typer(
    name="edgenext",
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
    help="Export, quantize, benchmark and judge EdgeNeXt networks for edge devices.",
)


def _show_version(value: bool) -> None:
    if value:
        from edgenext import __version__

        typer.echo(f"edgenext {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress and no notes: results and errors.")
    ] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    from edgenext.cli.console import set_up

    set_up(verbose=verbose, quiet=quiet, color=not no_color)
