"""The options that commands share."""

from __future__ import annotations

import functools
import inspect
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from edgenext.errors import UsageError
from edgenext.options import ModelOptions

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
RuntimeOf = Annotated[
    str, typer.Option("--target", help="Run artifacts as this target does: `htp` is simulated.")
]
Uint8 = Annotated[
    bool, typer.Option("--uint8-input", help="Take N×H×W×3 uint8; preprocessing goes inside.")
]
Batch = Annotated[str, typer.Option(help="Images a call: a number, or `dynamic`.")]

Ios = Annotated[str | None, typer.Option(help="Core ML: the oldest iOS, 15 to 18; default 16.")]
ImageInput = Annotated[
    bool, typer.Option("--image-input", help="Core ML: takes an image, gives class labels.")
]
IntegerIo = Annotated[
    bool, typer.Option("--integer-io", help="TFLite: int8 input and output, not float.")
]
Engine = Annotated[str | None, typer.Option(help="TFLite: litert or tensorflow; default litert.")]
Jetpack = Annotated[
    str | None, typer.Option(help="TensorRT: the JetPack generation, 4, 5 or 6; default 6.")
]
Soc = Annotated[str | None, typer.Option(help="Qualcomm: the SoC, such as SM8750; default SM8650.")]
Backend = Annotated[
    str | None, typer.Option(help="ExecuTorch: xnnpack or coreml; default xnnpack.")
]

MODEL_OPTIONS: dict[str, tuple[str, Any]] = {
    "weights": ("weights", Weights),
    "random_weights": ("random_weights", RandomWeights),
    "weight_seed": ("seed", WeightSeed),
    "num_classes": ("num_classes", NumClasses),
    "reset_head": ("reset_head", ResetHead),
    "size": ("size", Size),
    "crop_pct": ("crop_pct", CropPct),
    "labels": ("labels", Labels),
}
"""Each option of a command that takes a MODEL: its field of `ModelOptions` and its declaration."""


def takes_model(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `MODEL_OPTIONS`; it gets them as one argument, `options`."""

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        fields = {field: given.pop(name) for name, (field, _) in MODEL_OPTIONS.items()}
        command(**given, options=ModelOptions(**fields))

    defaults, kind = ModelOptions(), inspect.Parameter.KEYWORD_ONLY
    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in signature.parameters.items()
        if name != "options"
    ]
    added = [
        inspect.Parameter(name, kind, default=getattr(defaults, field), annotation=declared)
        for name, (field, declared) in MODEL_OPTIONS.items()
    ]
    wrapper.__signature__ = signature.replace(parameters=own + added)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in own + added}
    return wrapper


def changed(options: ModelOptions) -> dict[str, Any]:
    """The options of `MODEL_OPTIONS` that differ from their defaults, by name."""
    defaults = ModelOptions()
    return {
        name: getattr(options, field)
        for name, (field, _) in MODEL_OPTIONS.items()
        if getattr(options, field) != getattr(defaults, field)
    }


def batch_size(text: str) -> int | None:
    """A batch size, None for `dynamic`."""
    if text == "dynamic":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--batch {text} is no number of images", "Use 1 or more, or dynamic")
    return int(text)


def told_options(
    formats: Sequence[str], given: Mapping[str, str | bool | None]
) -> dict[str, dict[str, str | bool]]:
    """Format → the options of its own that were given.

    Raises:
        UsageError: an unknown format, or an option that none of the formats has.
    """
    from edgenext.export.formats import require_format

    kinds = {name: require_format(name) for name in formats}
    for option, value in given.items():
        if value is not None and not any(option in kind.options for kind in kinds.values()):
            raise UsageError(f"{' and '.join(formats)} has no option {option}", "Leave it out")
    return {
        name: {k: v for k, v in given.items() if v is not None and k in kind.options}
        for name, kind in kinds.items()
    }


def command_line() -> str:
    """The command as it was typed, without the machine's paths in front of the program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
