"""The options that commands share."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from edgenext.errors import UsageError
from edgenext.options import DEFAULT_CALIBRATION, CiOptions, ModelOptions
from edgenext.targets.target import TARGETS

_log = logging.getLogger(__name__)

FORMATS_PANEL = "Formats"
"""The heading of the options that formats add."""


def one_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell completes an option's value to."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


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
Exif = Annotated[
    str | None,
    typer.Option(help="EXIF orientations: `ignore` or `apply`; default: as trained, or `ignore`."),
]
Labels = Annotated[Path | None, typer.Option(help="Class names, one a line; or synset_words.txt.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for the files.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Data = Annotated[str, typer.Option(help="Folder or zip of class folders, or `digits`.")]
Calib = Annotated[str, typer.Option(help="Calibration images: folder, zip or `digits`.")]
CalibCount = Annotated[
    int | None,
    typer.Option(
        "-n", help=f"Calibration images; default {DEFAULT_CALIBRATION}, or all there are."
    ),
]
Recipe = Annotated[Path | None, typer.Option(help="A recipe file of your own.")]
Limit = Annotated[int | None, typer.Option(help="Use a stratified subset of N images.")]
AllImages = Annotated[
    bool, typer.Option("--all-images", help="Use all, also if fewer decide --max-drop.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]
Target = Annotated[
    str,
    typer.Option(
        help=f"Where the file will run: {', '.join(TARGETS)}.", autocompletion=one_of(TARGETS)
    ),
]
RuntimeOf = Annotated[
    str, typer.Option("--target", help="Run artifacts as this target does: `htp` is simulated.")
]
Uint8 = Annotated[
    bool, typer.Option("--uint8-input", help="Take N×H×W×3 uint8; preprocessing goes inside.")
]
Features = Annotated[
    bool, typer.Option("--features", help="A backbone: the four stage outputs instead of logits.")
]
Opset = Annotated[int | None, typer.Option(help="ONNX opset, 13 to 23.")]
Batch = Annotated[str, typer.Option(help="Images a call: a number, or `dynamic`.")]

FailIf = Annotated[
    str,
    typer.Option(
        metavar="CONDITION",
        help='Exit code 13 where it holds, 14 if "undecided": "drop>0.5 or undecided".',
    ),
]
Junit = Annotated[Path | None, typer.Option(help="Write the conditions as JUnit XML.")]
Csv = Annotated[Path | None, typer.Option(help="Write all results as CSV.")]
Parquet = Annotated[Path | None, typer.Option(help="Write all results as Parquet.")]
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable that names the file which GitHub Actions shows under a job."""

MODEL_OPTIONS: dict[str, tuple[str, Any]] = {
    "weights": ("weights", Weights),
    "random_weights": ("random_weights", RandomWeights),
    "weight_seed": ("seed", WeightSeed),
    "num_classes": ("num_classes", NumClasses),
    "reset_head": ("reset_head", ResetHead),
    "size": ("size", Size),
    "crop_pct": ("crop_pct", CropPct),
    "exif": ("exif", Exif),
    "labels": ("labels", Labels),
}
"""Each option of a command that takes a MODEL: its field of `ModelOptions` and its declaration."""

RESET_HEAD_COMMANDS = ("train", "run", "export", "quantize", "stress")

Command = Callable[..., None]


def takes_model(command: Command) -> Command:
    """Give a command the options of `MODEL_OPTIONS`; it gets them as one, `model_options`.

    `--reset-head` is for commands that train or write a network: others would judge a head that
    knows nothing.
    """
    defaults = ModelOptions()
    added = {
        name: (declared, getattr(defaults, field))
        for name, (field, declared) in MODEL_OPTIONS.items()
        if name != "reset_head" or command.__name__ in RESET_HEAD_COMMANDS
    }

    def collect(values: dict[str, Any]) -> ModelOptions:
        return ModelOptions(**{MODEL_OPTIONS[name][0]: value for name, value in values.items()})

    return with_options(command, "model_options", added, collect)


def step_summary() -> Path | None:
    """The file that GitHub Actions shows under a job; None elsewhere."""
    path = os.environ.get(STEP_SUMMARY)
    return Path(path) if path else None


def takes_ci_options(command: Command) -> Command:
    """Give a command the options of `CiOptions`; it gets them as one, `ci_options`."""
    added = {
        "fail_if": (FailIf, ""),
        "junit": (Junit, None),
        "csv": (Csv, None),
        "parquet": (Parquet, None),
    }

    def collect(values: dict[str, Any]) -> CiOptions:
        return CiOptions(**values, step_summary=step_summary())

    return with_options(command, "ci_options", added, collect)


def takes_format_options(name: str) -> Callable[[Command], Command]:
    """Give a command the options that formats add to it; it gets those given, `format_options`."""
    from edgenext.formats.format import command_options

    rows, added, old = command_options(name), {}, {}
    for option, (title, row) in rows.items():
        flag = row.flag or f"--{option.replace('_', '-')}"
        flags = (flag, "-o") if flag == "--out" else (flag,)
        default = f"; default {row.default}" if row.default else ""
        text = f"{title}: {row.help}{default}."
        kind, unset = (bool, False) if isinstance(row.default, bool) else (str, "")
        declared = typer.Option(*flags, help=text, rich_help_panel=FORMATS_PANEL)
        added[option] = (Annotated[kind, declared], unset)
        if row.old_flag:
            old[f"old_{option}"] = option
            hidden = typer.Option(row.old_flag, hidden=True)
            added[f"old_{option}"] = (Annotated[kind, hidden], unset)

    def collect(values: dict[str, Any]) -> dict[str, str | bool]:
        for spelling, option in old.items():
            if value := values.pop(spelling):
                row = rows[option][1]
                flag = row.flag or f"--{option.replace('_', '-')}"
                _log.warning("%s is called %s now", row.old_flag, flag)
                values[option] = values[option] or value
        return {option: value for option, value in values.items() if value}

    return lambda command: with_options(command, "format_options", added, collect)


def with_options(
    command: Command,
    argument: str,
    added: Mapping[str, tuple[Any, Any]],
    collect: Callable[[dict[str, Any]], Any],
) -> Command:
    """A command with more options, which it gets as one argument.

    Args:
        command: takes keyword arguments.
        argument: the name of that one argument.
        added: name → declaration and default of each option.
        collect: makes the argument of their values.
    """

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        own = {name: values.pop(name) for name in added}
        command(**values, **{argument: collect(own)})

    signature = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    parameters = [
        parameter.replace(annotation=hints[name])
        for name, parameter in signature.parameters.items()
        if name != argument
    ]
    parameters += [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=declared
        )
        for name, (declared, default) in added.items()
    ]
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters} | {
        name: hint for name, hint in hints.items() if name == argument
    }
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
        raise UsageError(f"--batch {text} is not a number of images", "Use 1 or more, or dynamic")
    return int(text)


def options_by_format(
    formats: Sequence[str], options: Mapping[str, str | bool]
) -> dict[str, dict[str, str | bool]]:
    """Format → the options of its own that were given.

    Raises:
        UsageError: an unknown format, or an option that none of the formats has.
    """
    from edgenext.formats.format import require_format

    rows = {name: require_format(name) for name in formats}
    for option in options:
        if not any(option in row.options for row in rows.values()):
            raise UsageError(f"{' and '.join(formats)} has no option {option}", "Leave it out")
    return {
        name: {option: value for option, value in options.items() if option in row.options}
        for name, row in rows.items()
    }


def command_line() -> str:
    """The command as it was typed, without how the program was found."""
    return shlex.join(["edgenext", *sys.argv[1:]])
