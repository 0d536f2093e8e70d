"""Commands that make something: weights, files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import (
    Batch,
    Data,
    Json,
    Limit,
    Out,
    Seed,
    Target,
    Uint8,
    batch_size,
    takes_model,
)
from edgenext.errors import UsageError
from edgenext.models.zoo import DEFAULT_MODEL
from edgenext.options import ModelOptions


@app.command()
def models(json: Json = False) -> None:
    """List the published checkpoints and their figures."""
    from edgenext.models.zoo import cards

    if json:
        console.print_json([c.model_dump(mode="json") for c in cards()])
    else:
        console.show_models(cards())


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="A published checkpoint.")]) -> None:
    """Download a published checkpoint into the cache."""
    from edgenext.models.fetch import fetch as run

    with console.progress() as progress:
        path = run(
            name, progress=lambda done, total: progress(f"fetching {name}", done, total or 0)
        )
    console.out.print(str(path))


@app.command()
@takes_model
def quantize(
    *,
    what: Annotated[
        str | None, typer.Argument(metavar="MODEL|ARTIFACT", help="Default: edgenext_small.")
    ] = None,
    calib: Annotated[str, typer.Option(help="Calibration images: folder, zip or `digits`.")] = "",
    n: Annotated[int, typer.Option("-n", help="Calibration images.")] = 128,
    seed: Seed = 0,
    scheme: Annotated[
        str,
        typer.Option(help="w8a8-static, w8a8-dynamic, w8a16-static, w8-weight-only, fp16 or bf16."),
    ] = "w8a8-static",
    target: Target = "cpu-onnxruntime",
    format: Annotated[  # noqa: A002 - the option's name
        str | None, typer.Option(help="Format of the file; default: the target's own.")
    ] = None,
    engine: Annotated[
        str, typer.Option(help="`edgenext`, or `onnxruntime` or `nncf` to compare with.")
    ] = "edgenext",
    recipe: Annotated[Path | None, typer.Option(help="A recipe file of your own.")] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Search: the fastest file that costs at most so many points of top-1."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Labelled images for the search: half choose, half report.")
    ] = None,
    objective: Annotated[str, typer.Option(help="Of the search: latency or size.")] = "latency",
    limit: Limit = None,
    batch: Batch = "1",
    uint8_input: Uint8 = False,
    options: ModelOptions,
    out: Out = Path(),
    json: Json = False,
) -> None:
    """Quantize a model or a float artifact.

    With --max-drop, search for the fastest file under a budget; stopped, it goes on later.
    """
    from edgenext import api
    from edgenext.graph.targets import require_target
    from edgenext.options import ExportOptions, QuantizeOptions

    how = QuantizeOptions(scheme, target, engine, recipe, calib, n, seed)
    graph = ExportOptions(
        target=target,
        batch=batch_size(batch),
        uint8_input=uint8_input,
        file_format=format or require_target(target).format,
    )
    name = what or DEFAULT_MODEL
    if max_drop is None:
        with console.progress() as progress:
            artifact = api.quantize(name, how, options, graph, out=out, progress=progress)
        result = artifact.result()
        console.print_json(result.model_dump(mode="json")) if json else console.show_export(result)
        if (result.target, result.scheme) == ("cpu-onnxruntime", "w8a8-static") and not json:
            console.show_advice()
        return
    if data is None:
        raise UsageError("a search needs labelled images", "Give --data")
    if engine != "edgenext":
        raise UsageError(f"the engine {engine} has nothing to search", "Leave --engine out")
    from edgenext.search import search

    with console.progress() as progress:
        report = search(
            name,
            how,
            data,
            max_drop,
            options,
            graph,
            objective=objective,
            limit=limit,
            out=out,
            progress=progress,
            announce=console.announce,
        )
    console.print_json(report.model_dump(mode="json")) if json else console.show_search(report)


@app.command()
@takes_model
def train(
    *,
    model: Annotated[str, typer.Argument(help="An architecture.")],
    data: Data,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror half of the images.")] = False,
    drop_path: Annotated[
        float | None, typer.Option(help="Stochastic depth of the last block.")
    ] = None,
    seed: Seed = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")
    ] = False,
    options: ModelOptions,
    out: Out = Path("training"),
) -> None:
    """Train a model, or go on from weights.

    AdamW, cosine schedule, averaged weights, a checkpoint every epoch.
    """
    from edgenext import api
    from edgenext.train import TrainRecipe

    given = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "flip": flip,
        "drop_path": drop_path, "seed": seed,
    }  # fmt: skip
    recipe = TrainRecipe.model_validate({k: v for k, v in given.items() if v is not None})
    with console.progress() as progress:
        training = api.prepare_training(model, data, recipe, options, progress=progress)
        result = api.train(training, out, resume=resume, progress=progress)
    console.show_training(result)


@app.command()
@takes_model
def stress(
    *,
    model: Annotated[str | None, typer.Argument(help="Default: the one the weights fit.")] = None,
    seed: Seed = 0,
    strength: Annotated[
        float, typer.Option(help="Channels are scaled by 2 to the power of up to this.")
    ] = 3.0,
    options: ModelOptions,
    out: Annotated[Path, typer.Option("-o", "--out", help="The twin's weights file.")] = Path(
        "twin.safetensors"
    ),
) -> None:
    """Write an exact twin of a model that is hard to quantize.

    Its channels are rescaled, its logits are the same: a test for any quantizer.
    """
    from edgenext import api

    console.out.print(str(api.stress(model, out, options, seed=seed, strength=strength)))
