"""The command line: a command parses, makes one call of the API and prints."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edgenext.errors import INTERRUPTED, EdgenextError, UsageError

TyperUsageError: Any = typer.BadParameter.__base__
"""Of an option or argument; where its class stands differs between the versions of Typer."""

app = typer.Typer(
    name="edgenext",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Export, quantize, benchmark and judge EdgeNeXt networks for edge devices.",
)

Weights = Annotated[
    Path | None, typer.Option(help="Weights: .pth, .pt, .bin or .safetensors, timm's names too.")
]
RandomWeights = Annotated[
    bool, typer.Option("--random-weights", help="Seeded random weights, where only speed matters.")
]
WeightSeed = Annotated[int, typer.Option(min=0, help="Seed of random weights and of a fresh head.")]
NumClasses = Annotated[
    int | None, typer.Option(help="Classes of random weights or of a fresh head.")
]
ResetHead = Annotated[bool, typer.Option("--reset-head", help="Re-initialise the head.")]
Size = Annotated[int | None, typer.Option(help="Input size in pixels.")]
CropPct = Annotated[float | None, typer.Option(help="Share of the resized image that is kept.")]
Labels = Annotated[Path | None, typer.Option(help="Class names, one a line, wnid first.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the files.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Data = Annotated[str, typer.Option(help="Folder or zip of class folders, or `digits`.")]
Limit = Annotated[int | None, typer.Option(help="Use a stratified subset of N images.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]
Target = Annotated[str, typer.Option(help="Where the file will run.")]
Uint8 = Annotated[
    bool, typer.Option("--uint8-input", help="Take N×H×W×3 uint8; preprocessing goes inside.")
]
Batch = Annotated[str, typer.Option(help="Images a call: a number, or `dynamic`.")]


@app.callback()
def _main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done.")] = False,
) -> None:
    from edgenext.console import set_up_logging

    set_up_logging(verbose)


@app.command()
def models(json: Json = False) -> None:
    """List the published checkpoints and their published figures."""
    from edgenext import console
    from edgenext.models.zoo import cards

    if json:
        _print_json([c.model_dump(mode="json") for c in cards()])
    else:
        console.show_models(cards())


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="A published checkpoint.")]) -> None:
    """Download a published checkpoint into the cache."""
    from edgenext import console
    from edgenext.models.fetch import fetch as run

    with console.progress() as progress:
        path = run(
            name, progress=lambda done, total: progress(f"fetching {name}", done, total or 0)
        )
    console.out.print(str(path))


@app.command()
def export(
    model: Annotated[str | None, typer.Argument(help="Default: edgenext_small.")] = None,
    format: Annotated[str, typer.Option(help="Format of the file.")] = "onnx",  # noqa: A002 - the option's name
    target: Target = "cpu-onnxruntime",
    opset: Annotated[int, typer.Option(help="ONNX opset, 13 to 23.")] = 20,
    batch: Batch = "1",
    uint8_input: Uint8 = False,
    no_fold: Annotated[
        bool, typer.Option("--no-fold", help="The plain graph, for comparison.")
    ] = False,
    features: Annotated[
        bool, typer.Option("--features", help="A backbone: the four stage outputs.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="Images to compare with PyTorch on; default: digits.")
    ] = None,
    weights: Weights = None,
    random_weights: RandomWeights = False,
    weight_seed: WeightSeed = 0,
    num_classes: NumClasses = None,
    reset_head: ResetHead = False,
    size: Size = None,
    crop_pct: CropPct = None,
    labels: Labels = None,
    out: Out = Path(),
    json: Json = False,
) -> None:
    """Export a model to a file that has run and agrees with PyTorch."""
    from edgenext import api, console
    from edgenext.graph.targets import form_for
    from edgenext.options import ExportOptions, ModelOptions

    how = ExportOptions(
        form="naive" if no_fold else form_for(target),
        target=target,
        batch=_batch(batch),
        opset=opset,
        uint8_input=uint8_input,
        features_only=features,
    )
    options = ModelOptions(
        weights, random_weights, weight_seed, num_classes, reset_head, size, crop_pct, labels
    )
    with console.busy("exporting and comparing with PyTorch"):
        artifact = api.export(model, options, how, out=out, data=data, export_format=format)
    result = artifact.result()
    _print_json(result.model_dump(mode="json")) if json else console.show_export(result)


@app.command()
def quantize(
    what: Annotated[
        str | None, typer.Argument(metavar="MODEL|ARTIFACT", help="Default: edgenext_small.")
    ] = None,
    calib: Annotated[str, typer.Option(help="Calibration images: folder, zip or `digits`.")] = "",
    n: Annotated[int, typer.Option("-n", help="Calibration images.")] = 128,
    seed: Seed = 0,
    scheme: Annotated[str, typer.Option(help="Quantization scheme.")] = "w8a8-static",
    target: Target = "cpu-onnxruntime",
    engine: Annotated[
        str, typer.Option(help="`edgenext`, or `onnxruntime` for its quantizer's defaults.")
    ] = "edgenext",
    recipe: Annotated[Path | None, typer.Option(help="A recipe file of your own.")] = None,
    batch: Batch = "1",
    uint8_input: Uint8 = False,
    weights: Weights = None,
    random_weights: RandomWeights = False,
    weight_seed: WeightSeed = 0,
    num_classes: NumClasses = None,
    reset_head: ResetHead = False,
    size: Size = None,
    crop_pct: CropPct = None,
    labels: Labels = None,
    out: Out = Path(),
    json: Json = False,
) -> None:
    """Quantize a model or a float artifact to INT8 after training."""
    from edgenext import api, console
    from edgenext.graph.targets import form_for
    from edgenext.models.zoo import DEFAULT_MODEL
    from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions

    if not calib:
        raise UsageError(
            "static INT8 needs calibration images",
            "Give --calib a folder or zip of images like those the model will see",
        )
    how = QuantizeOptions(scheme, target, engine, recipe, calib, n, seed)
    options = ModelOptions(
        weights, random_weights, weight_seed, num_classes, reset_head, size, crop_pct, labels
    )
    graph = ExportOptions(
        form=form_for(target), target=target, batch=_batch(batch), uint8_input=uint8_input
    )
    with console.progress() as progress:
        artifact = api.quantize(
            what or DEFAULT_MODEL, how, options, graph, out=out, progress=progress
        )
    result = artifact.result()
    _print_json(result.model_dump(mode="json")) if json else console.show_export(result)


@app.command(name="eval")
def evaluate(
    what: Annotated[
        list[str], typer.Argument(metavar="MODEL|ARTIFACT", help="Models and artifacts.")
    ],
    data: Data,
    limit: Limit = None,
    seed: Seed = 0,
    weights: Weights = None,
    random_weights: RandomWeights = False,
    num_classes: NumClasses = None,
    size: Size = None,
    crop_pct: CropPct = None,
    labels: Labels = None,
    json: Json = False,
) -> None:
    """Top-1, top-5 and loss of models and artifacts, each through its own runtime."""
    from edgenext import api, console
    from edgenext.options import ModelOptions

    options = ModelOptions(weights, random_weights, 0, num_classes, False, size, crop_pct, labels)
    with console.progress() as progress:
        result = api.evaluate(what, data, options, limit=limit, seed=seed, progress=progress)
    _print_json(result.model_dump(mode="json")) if json else console.show_eval(result)


@app.command()
def compare(
    base: Annotated[str, typer.Argument(help="What the others are compared with.")],
    others: Annotated[list[str], typer.Argument(metavar="OTHER")],
    data: Data,
    limit: Limit = None,
    seed: Seed = 0,
    weights: Weights = None,
    random_weights: RandomWeights = False,
    num_classes: NumClasses = None,
    size: Size = None,
    crop_pct: CropPct = None,
    labels: Labels = None,
    json: Json = False,
) -> None:
    """The paired accuracy drop of artifacts against a base, on the same images."""
    from edgenext import api, console
    from edgenext.options import ModelOptions

    options = ModelOptions(weights, random_weights, 0, num_classes, False, size, crop_pct, labels)
    with console.progress() as progress:
        result = api.compare(base, others, data, options, limit=limit, seed=seed, progress=progress)
    _print_json(result.model_dump(mode="json")) if json else console.show_compare(result)


@app.command()
def bench(
    artifact: Annotated[
        list[Path],
        typer.Argument(metavar="ARTIFACT", help="The first is the base of the ratios."),
    ],
    device: Annotated[str, typer.Option(help="Where to run.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Inside an operator.")] = 1,
    batch: Annotated[int, typer.Option(help="Images an inference.")] = 1,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds, 30 at least to be valid.")] = 30,
    json: Json = False,
) -> None:
    """Latency of artifacts, interleaved, each in a process of its own."""
    from edgenext import api, console

    with console.progress() as progress:
        result = api.bench(
            artifact, device=device, threads=threads, batch=batch, rounds=rounds, progress=progress
        )
    _print_json(result.model_dump(mode="json")) if json else console.show_bench(result)


@app.command()
def train(
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
    weights: Weights = None,
    num_classes: NumClasses = None,
    reset_head: ResetHead = False,
    size: Size = None,
    crop_pct: CropPct = None,
    labels: Labels = None,
    out: Out = Path("training"),
) -> None:
    """Train a model: AdamW, cosine schedule, averaged weights, a checkpoint every epoch."""
    from edgenext import api, console
    from edgenext.options import ModelOptions
    from edgenext.train import TrainRecipe

    given = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "flip": flip,
        "drop_path": drop_path, "seed": seed,
    }  # fmt: skip
    recipe = TrainRecipe.model_validate({k: v for k, v in given.items() if v is not None})
    options = ModelOptions(weights, False, seed, num_classes, reset_head, size, crop_pct, labels)
    with console.progress() as progress:
        training = api.prepare_training(model, data, recipe, options, progress=progress)
        result = api.train(training, out, resume=resume, progress=progress)
    console.show_training(result)


@app.command()
def run(
    what: Annotated[str, typer.Argument(metavar="CONFIG.toml|MODEL")],
    data: Annotated[
        str | None, typer.Option(help="Evaluation images: folder, zip or `digits`.")
    ] = None,
    calib: Annotated[
        str | None, typer.Option(help="Calibration images; default: --data's train.")
    ] = None,
    weights: Weights = None,
    random_weights: RandomWeights = False,
    num_classes: NumClasses = None,
    size: Size = None,
    crop_pct: CropPct = None,
    labels: Labels = None,
    limit: Limit = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Points of top-1 that INT8 may cost.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The run's folder.")] = None,
) -> None:
    """Checkpoint to report, resuming where it stopped.

    Export, quantize, evaluate, benchmark and report.
    """
    from edgenext import console, pipeline
    from edgenext.config import make_config, read_config

    options = {
        "data": data, "calib": calib, "weights": weights, "size": size, "crop_pct": crop_pct,
        "labels": labels, "limit": limit, "max_drop": max_drop, "out": out,
        "random_weights": random_weights or None, "num_classes": num_classes,
    }  # fmt: skip
    given = {k: v for k, v in options.items() if v is not None}
    if what.endswith(".toml"):
        config = read_config(Path(what), given)
    elif data is None:
        raise UsageError(f"running {what} needs evaluation images", "Give --data")
    else:
        config = make_config({"model": what, "out": Path("runs") / what} | given)
    with console.progress() as progress:
        paths = pipeline.run(
            config, progress=progress, announce=console.announce, command=_command()
        )
    console.show_verdict(paths)


@app.command()
def stress(
    model: Annotated[str | None, typer.Argument(help="Default: the one the weights fit.")] = None,
    seed: Seed = 0,
    strength: Annotated[
        float, typer.Option(help="Channels are scaled by 2 to the power of up to this.")
    ] = 3.0,
    weights: Weights = None,
    random_weights: RandomWeights = False,
    num_classes: NumClasses = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The twin's weights file.")] = Path(
        "twin.safetensors"
    ),
) -> None:
    """Write an exact twin of a model that is hard to quantize, to test quantizers with."""
    from edgenext import api, console
    from edgenext.options import ModelOptions

    options = ModelOptions(weights, random_weights, 0, num_classes)
    console.out.print(str(api.stress(model, out, options, seed=seed, strength=strength)))


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(help="A folder made by `edgenext run`.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for the report.")] = None,
    max_drop: Annotated[float, typer.Option(help="Points of top-1 that INT8 may cost.")] = 1.0,
) -> None:
    """Write the report of a run: HTML, Markdown and JSON."""
    from edgenext import api, console

    for path in api.report(run_dir, out, budget=max_drop):
        console.out.print(str(path))


def _batch(text: str) -> int | None:
    """A batch size, None for `dynamic`."""
    if text == "dynamic":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--batch {text} is no number of images", "Use 1 or more, or dynamic")
    return int(text)


def _command() -> str:
    """The command as it was typed, without the machine's paths in front of the program."""
    import shlex

    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _print_json(value: object) -> None:
    import json

    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def main() -> None:
    """Run the command line; the exit code says what kind of failure it was."""
    # Idle threads sleep: spinning ones make torch ten times slower on a machine that is shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = app(standalone_mode=False, prog_name="edgenext")
        if code == INTERRUPTED:  # Typer has turned Ctrl-C into an exit code
            code = _fail("interrupted", INTERRUPTED)
    except EdgenextError as e:
        code = _fail(str(e), e.exit_code)
    except TyperUsageError as e:
        code = _misused(e)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as e:  # noqa: BLE001 - the last net: no traceback unless asked for
        detail = f"{type(e).__name__}: {e}"
        code = _fail(f"internal error, {detail}. Set EDGENEXT_DEBUG=1 to see where", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _misused(error: Any) -> int:
    """One line for a command, option or value that Typer refused; help where nothing was asked."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return UsageError.exit_code
    said = error.format_message()
    where = error.ctx.command_path if error.ctx else app.info.name
    end = "" if said.endswith((".", "?")) else "."
    return _fail(f"{said}{end} See `{where} --help`", UsageError.exit_code)


def _fail(message: str, code: int) -> int:
    """One line on stderr; the traceback too when EDGENEXT_DEBUG is set."""
    if os.environ.get("EDGENEXT_DEBUG") == "1":
        import traceback

        traceback.print_exc()
    sys.stderr.write(f"edgenext: {' '.join(message.split())}\n")
    return code
