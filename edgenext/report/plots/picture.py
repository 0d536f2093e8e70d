"""Plots that are files of their own, PNG or SVG, outside a report."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.errors import UsageError
from edgenext.system.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 130


def picture_format(path: Path) -> str:
    """The format of a picture by its file's ending: `png` or `svg`.

    Raises:
        UsageError: another ending.
    """
    ending = path.suffix.removeprefix(".")
    if ending not in ("png", "svg"):
        raise UsageError(
            f"{path.name} is not a .png or .svg file",
            "Give the plot a name that ends in .png or .svg",
        )
    return ending


def save_picture(path: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> Path:
    """Write what a function draws in a figure; the user's matplotlib settings have no effect.

    Args:
        path: of a .png or .svg file.
        size: width and height in inches.
        draw: fills the figure.

    Raises:
        UsageError: another kind of file.
        OutputError: the file cannot be written.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    picture = io.BytesIO()
    with matplotlib.style.context("default"):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(picture, format=picture_format(path), dpi=DPI)
    write_bytes(path, picture.getvalue())
    return path
