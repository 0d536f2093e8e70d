"""What is said of a command that lacks something: what to give, and an example with files here."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from edgenext.cli.group import examples
from edgenext.errors import UsageError
from edgenext.options import ModelOptions

WEIGHT_ENDINGS = (".safetensors", ".pth", ".pt")
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
WEIGHTS = "--weights mine.pth"
SOME = 300
"""Entries of a folder that are looked at."""

MOVED = {
    ("quantize", option): "search"
    for option in (
        "--max-drop",
        "--objective",
        "--data",
        "--limit",
        "--fail-if",
        "--junit",
        "--csv",
        "--parquet",
    )
}
"""Options that a command had, and the command that has them now."""


def missing_line(error: Any) -> str:
    """One line for a command without all that it needs: every missing value, and an example.

    Args:
        error: Typer's error about the first argument or option that is missing.
    """
    command = error.ctx.command_path.removeprefix("edgenext ")
    names = [_shown(parameter) for parameter in _missing(error)]
    return f"{command} needs {_listed(names)}. {for_example(command)}"


def require_network(
    command: str, subject: object, options: ModelOptions, *, calib: bool = False
) -> None:
    """Refuse a command without a network, unless the default one has weights here.

    Args:
        command: its name.
        subject: the model or file that was named; None for none.
        options: of the model.
        calib: whether calibration images are missing too.

    Raises:
        UsageError: no network; the remedy is what was typed with what is missing.
    """
    from edgenext.models.cache import cached_path
    from edgenext.models.zoo import DEFAULT_MODEL

    if subject or options.weights or options.random_weights:
        return
    if cached_path(DEFAULT_MODEL).is_file():
        return
    needs = "a model's name or --weights" + (", and --calib" if calib else "")
    typed = shlex.join(["edgenext", *sys.argv[1:]])
    line = f"{typed} --weights mine.pth" + (" --calib images/" if calib else "")
    example = f"For example: {with_files_here(line)}"
    if not _weights() and not _fetched():
        example += f"; `edgenext fetch {DEFAULT_MODEL}` downloads published ones"
    raise UsageError(f"{command} needs {needs}", example)


def unknown_option_line(error: Any) -> str:
    """One line for an option that a command does not have; empty where the usual one will do."""
    command = error.ctx.command_path.removeprefix("edgenext ") if error.ctx else ""
    now = MOVED.get((command, error.option_name))
    if now is None:
        return ""
    return f"{command} has no {error.option_name}: it is an option of {now}. {for_example(now)}"


def newest_run_here(command: str) -> Path:
    """The newest run in this folder, for a command that is not told of one; it is named on stderr.

    Raises:
        UsageError: there is no finished run.
    """
    from edgenext.cli import console

    folder = _run()
    if not folder:
        raise UsageError("nothing is named, and no finished run is here", for_example(command))
    console.note(f"of the newest run here: {folder}")
    return Path(folder)


def for_example(command: str) -> str:
    """The first example of a command's help, with files that are here; empty without one."""
    lines = examples().get(command, ())
    return f"For example: {with_files_here(lines[0])}" if lines else f"See `edgenext {command} -h`"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def with_files_here(line: str) -> str:
    """A command line whose placeholders are replaced by files of this folder, if there are any."""
    if WEIGHTS in line and not _weights() and (name := _fetched()):
        line = re.sub(f"(edgenext_\\w+ )?{WEIGHTS}", name, line)
    names = "|".join(map(re.escape, PLACEHOLDERS))
    return re.sub(rf"(?<=\s)(?:{names})(?=\s|$)", _here, line)


def _here(placeholder: re.Match[str]) -> str:
    """What is here instead of a placeholder; itself where there is nothing."""
    path = PLACEHOLDERS[placeholder[0]]()
    return shlex.quote(path) if path else placeholder[0]


def _missing(error: Any) -> list[Any]:
    """The parameters that are required and were not given; Typer names the first alone."""
    parameters = error.ctx.command.get_params(error.ctx)
    first = error.param or parameters[0]
    words = {word.partition("=")[0] for word in sys.argv}
    after = parameters[parameters.index(first) + 1 :] if first in parameters else []

    def is_missing(parameter: Any) -> bool:
        if parameter.param_type_name == "argument":  # arguments are taken in their order
            return bool(first.param_type_name == "argument")
        return not words & {*parameter.opts}

    return [first, *(p for p in after if p.required and is_missing(p))]


def _shown(parameter: Any) -> str:
    """What the help calls an argument or option."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper()).removesuffix("...")
    return str(parameter.opts[-1] if parameter.opts[-1].startswith("--") else parameter.opts[0])


def _entries(folder: Path = Path()) -> list[Path]:
    """The contents of a folder by name; empty if it cannot be read."""
    try:
        return sorted(p for p in islice(folder.iterdir(), SOME) if not p.name.startswith("."))
    except OSError:
        return []


def _newest(paths: Sequence[Path]) -> str:
    """The file that was written last."""
    times = {path: path.stat().st_mtime for path in paths if path.is_file()}
    return str(max(times, key=times.__getitem__)) if times else ""


def _weights() -> str:
    return _newest([p for p in _entries() if p.suffix in WEIGHT_ENDINGS])


def _fetched() -> str:
    """A published checkpoint that was fetched; empty if there is none."""
    from edgenext.models.cache import weights_folder

    known = [p.stem for p in _entries(weights_folder()) if p.suffix == ".pth"]
    return known[0] if known else ""


def _artifacts() -> Iterator[tuple[Path, str]]:
    """Artifacts and their schemes: of this folder, else of the newest run in it."""
    folders = [Path()]
    if run := _run():
        folders.append(Path(run, "artifacts"))
    for folder in folders:
        known = [p for p in _entries(folder) if p.with_name(f"{p.name}.json").is_file()]
        schemes = [(path, _scheme(path.with_name(f"{path.name}.json"))) for path in known]
        artifacts = [(path, scheme) for path, scheme in schemes if scheme]
        if artifacts:
            yield from artifacts
            return


def _scheme(manifest: Path) -> str:
    """The scheme of a manifest; empty for any other JSON."""
    from edgenext.system.reading import read_file

    try:
        record = json.loads(read_file(manifest, limit=1 << 22))
    except Exception:  # noqa: BLE001 - an example is not worth an error
        return ""
    scheme = record.get("scheme") if isinstance(record, dict) else None
    return scheme if isinstance(scheme, str) else ""


def _float_artifact() -> str:
    paths = [str(path) for path, scheme in _artifacts() if scheme == "fp32"]
    return next((path for path in paths if "plain" not in path), paths[0] if paths else "")


def _quantized_artifact() -> str:
    return next((str(path) for path, scheme in _artifacts() if scheme != "fp32"), "")


def _run() -> str:
    from edgenext.report.load import newest_run

    try:
        folder = newest_run(Path())
    except OSError:
        return ""
    return str(folder) if folder else ""


def _images() -> str:
    """A folder of class folders, or of split folders of these."""
    return next((f"{p}/" for p in _entries() if p.is_dir() and _has_classes(p)), "")


def _has_classes(folder: Path) -> bool:
    inside = [p for p in _entries(folder)[:5] if p.is_dir()]
    return any(
        any(q.suffix.lower() in IMAGE_ENDINGS for q in _entries(p)) or _has_classes(p)
        for p in inside
    )


def _image() -> str:
    return next((str(p) for p in _entries() if p.suffix.lower() in IMAGE_ENDINGS), "")


PLACEHOLDERS: dict[str, Callable[[], str]] = {
    "mine.pth": _weights,
    "mine-fp32.onnx": _float_artifact,
    "mine-fp16.onnx": _float_artifact,
    "mine-w8a8-static.onnx": _quantized_artifact,
    "mine-jetson-w8a8-static.onnx": _quantized_artifact,
    "runs/mine": _run,
    "images/": _images,
    "photos/": _images,
    "photo.jpg": _image,
}
"""Names in the examples that stand for a user's own, and what is here instead."""
