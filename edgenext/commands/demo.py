"""The whole chain on embedded data: what a new user runs first."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import Any

from edgenext.commands.config import make_config
from edgenext.commands.context import Context
from edgenext.commands.run import run
from edgenext.commands.stages import Announce, silent
from edgenext.errors import OutputError
from edgenext.system.files import write_text
from edgenext.system.packaged import packaged_toml

DEMO_FILE = "demo.toml"


def write_demo_toml(path: Path) -> Path:
    """Write the settings of the demo as a TOML file for `read_config` and `edgenext run`.

    Args:
        path: of a file that does not exist yet: it may hold somebody's changes.

    Raises:
        OutputError: there is something at `path`, or it cannot be written.

    >>> read_config(write_demo_toml(Path("mine.toml")), {"epochs": 1}).data
    'digits'
    """
    if os.path.lexists(path):
        raise OutputError(f"{path} exists already", "Choose another name or remove it")
    write_text(path, resources.files("edgenext.commands").joinpath(DEMO_FILE).read_text("utf-8"))
    return path


def demo(
    *,
    out: Path = Path("demo"),
    epochs: int | None = None,
    limit: int | None = None,
    measure_again: bool = False,
    announce: Announce = silent,
    command: str = "",
    context: Context | None = None,
) -> list[Path]:
    """Train on embedded digits, export, quantize, evaluate, benchmark and report.

    Stopped, it goes on where it was, as `run` does.

    Args:
        out: the folder of the run.
        epochs: of training, at least 1; default: 12.
        limit: evaluate on so many images, at least 1; default: all.
        measure_again: repeat the benchmark, also one that is unchanged.
        announce: told the name of each stage, and whether it is done now or was already.
        command: recorded in the report.
        context: what was loaded before.

    Returns:
        The report's files.

    Raises:
        UsageError: no epoch or no image.
        OutputError: another process works in the folder, or it holds another network's work.

    >>> demo(out=Path("demo"), limit=0)
    Traceback (most recent call last):
    edgenext.errors.UsageError: the demo: limit: ...
    """
    chosen: dict[str, Any] = {"out": out, "epochs": epochs, "limit": limit}
    overrides = {name: value for name, value in chosen.items() if value is not None}
    config = make_config(packaged_toml("edgenext.commands", DEMO_FILE) | overrides, "the demo")
    return run(
        config, measure_again=measure_again, announce=announce, command=command, context=context
    )
