"""The command `edgenext adopt`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import CropPct, Exif, Json, Labels, Size
from edgenext.errors import UsageError
from edgenext.options import AdoptOptions
from edgenext.schema import Manifest


@app.command()
def adopt(
    *,
    file: Annotated[
        Path, typer.Argument(help="An ONNX, TFLite or OpenVINO file, or a Core ML package.")
    ],
    size: Size = None,
    mean: Annotated[
        str | None, typer.Option(help="Mean of red, green and blue, of pixels from 0 to 1.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(help="Deviation of red, green and blue, of pixels from 0 to 1.")
    ] = None,
    crop_pct: CropPct = None,
    interpolation: Annotated[
        str | None, typer.Option(help="`bicubic` or `bilinear`; default bicubic.")
    ] = None,
    exif: Exif = None,
    labels: Labels = None,
    output: Annotated[
        str, typer.Option(metavar="NAME", help="The output with the classes, of several.")
    ] = "",
    json: Json = False,
) -> None:
    """Take a classifier that others made, to compare with.

    A manifest is written beside the file, which stays as it is. What the file says of itself is
    read; what it does not say must be given.
    """
    from edgenext import api

    options = AdoptOptions(
        size=size,
        mean=_numbers("mean", mean),
        std=_numbers("std", std),
        crop_pct=crop_pct,
        interpolation=interpolation,
        exif=exif,  # type: ignore[arg-type] # checked where it is used
        labels=labels,
        output=output,
    )
    with console.working() as context:
        artifact = api.adopt(file, options, context=context)
    manifest = artifact.manifest
    console.print_json(manifest.model_dump(mode="json")) if json else show_adopted(file, manifest)


def _numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers between commas.

    Raises:
        UsageError: something else.
    """
    if text is None:
        return None
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as e:
        raise UsageError(
            f"--{name} {text} is not numbers", "Give one or three, such as 0.485,0.456,0.406"
        ) from e


def show_adopted(file: Path, manifest: Manifest) -> None:
    """What is known of an adopted file, and what is assumed."""
    spec, t = manifest.input, manifest.eval
    shape = "×".join("N" if side < 0 else str(side) for side in spec.shape)
    output = "probabilities, used as logarithms" if manifest.gives_probabilities else "logits"
    lines = [
        f"{file}  {manifest.size_bytes / 2**20:.2f} MiB  {manifest.format}  {manifest.scheme}  "
        f"sha256 {manifest.sha256[:12]}…",
        f"input {spec.name}: {shape} {spec.dtype}, {t.size} px of {int(t.size / t.crop_pct)}, "
        f"{t.interpolation}",
        f"output {manifest.outputs[0].name}: {manifest.num_classes} classes, {output}",
    ]
    for line in lines:
        console.out.print(line, soft_wrap=True, markup=False)
    for note in _assumptions(manifest):
        console.err.print(f"note: {note}", soft_wrap=True, markup=False)


def _assumptions(manifest: Manifest) -> Iterator[str]:
    """What nobody said of the file."""
    facts = manifest.adopted.facts if manifest.adopted else {}
    t = manifest.eval
    values = {"crop-pct": f"{t.crop_pct:g}", "interpolation": t.interpolation}
    assumed = [f"--{name} {value}" for name, value in values.items() if facts[name] == "default"]
    if assumed:
        yield f"assumed: {', '.join(assumed)}"
    if manifest.labels is None:
        yield "no labels: its classes are those of the class folders in the order of their names"
