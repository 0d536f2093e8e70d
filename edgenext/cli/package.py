"""The command `edgenext package`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Json
from edgenext.schema import PackageResult


@app.command()
def package(
    artifacts: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Files of one network, the main one first."),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder, or a file ending in .zip.")
    ] = Path("package"),
    image: Annotated[Path | None, typer.Option(help="The example image.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Images, the first of which is the example; or `digits`.")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Accuracies for the card: of `eval --json`, `compare --json` or a run."),
    ] = None,
    json: Json = False,
) -> None:
    """Package files for an app: labels, preprocessing, samples, a model card, hashes.

    The samples run the files in Python, Node, a web page, C++, Kotlin or Swift, each with the
    published preprocessing. `verify` and `predict` take the package too.
    """
    from edgenext import api

    with console.working() as context:
        result = api.package(
            artifacts, image=image, data=data, results=results, out=out, context=context
        )
    console.print_json(result.model_dump(mode="json")) if json else show(result)


def show(result: PackageResult) -> None:
    """The package, its samples, and what the first file says of the example."""
    console.out.print(result.package, markup=False, soft_wrap=True)
    for sample in result.samples:
        console.out.print(f"  {sample}", markup=False, soft_wrap=True)
    best = next(iter(result.expected.values()))[0]
    name = f"{best.index} {best.name}".rstrip()
    console.out.print(f"example.png: {best.probability:.2%} {name}", markup=False, soft_wrap=True)
    for note in result.notes:
        console.out.print(f"note: {note}", markup=False, soft_wrap=True)
