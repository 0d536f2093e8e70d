"""The command `edgenext predict`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Json, RuntimeOf, takes_model
from edgenext.options import ModelOptions
from edgenext.schema import PredictReport


@app.command()
@takes_model
def predict(
    *,
    subject: Annotated[
        str, typer.Argument(metavar="MODEL|ARTIFACT", help="A model, an artifact or a package.")
    ],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.")
    ],
    top: Annotated[int, typer.Option(help="Classes to show of each image.")] = 5,
    target: RuntimeOf = "",
    model_options: ModelOptions,
    json: Json = False,
) -> None:
    """Show the most probable classes of images.

    Each image is decoded, resized and cropped as the network's evaluation does. Files that cannot
    be read are named on stderr.
    """
    from edgenext import api

    with console.working() as context:
        report = api.predict(
            subject, images, model_options, top=top, target=target, context=context
        )
    for unread in report.unread:
        console.err.print(f"{unread.image}: {unread.reason}", soft_wrap=True, markup=False)
    console.print_json(report.model_dump(mode="json")) if json else show_predictions(report)


def show_predictions(report: PredictReport) -> None:
    """A line a class, under the name of each image."""
    for image in report.images:
        console.out.print(image.image, soft_wrap=True, markup=False)
        for score in image.classes:
            name = f"{score.index} {score.name}".rstrip()
            console.out.print(f"  {score.probability:7.2%}  {name}", soft_wrap=True, markup=False)
    console.show_evidence(report.artifact, report.runtime, report.evidence)
