"""Starting the process of Rockchip's simulator, from this environment or from its own."""

from __future__ import annotations

import os
from pathlib import Path

import edgenext
from edgenext.system.messages import MessageProcess

ANSWER_S = 1200.0
"""A build takes seconds, or minutes on a busy machine."""
PATH_LENGTH = 240
"""Of the working folder's path, which the toolkit keeps in memory, in front of other things."""


def working_folder(scratch: Path) -> Path:
    """A new folder for the simulator, in another, with a path as long as those of all others."""
    folder = scratch.absolute()
    folder /= "x" * max(1, PATH_LENGTH - len(str(folder)) - 1)
    folder.mkdir()
    return folder


def start_simulator(python: str, folder: Path, platform: str) -> MessageProcess:
    """A process that builds the graph in a folder at the first request, and runs it at the others.

    Args:
        python: the interpreter that has the toolkit.
        folder: a working folder with the files of a graph.
        platform: a row of `platforms.toml`.
    """
    package = Path(edgenext.__file__).parent.resolve()
    (folder / package.name).symlink_to(package, target_is_directory=True)
    return MessageProcess(
        [python, "-m", "edgenext.formats.rknn.simulator", platform],
        os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        "the process of rknn-toolkit2",
        "Its log may say more: export the file again",
        ANSWER_S,
        folder,
    )
