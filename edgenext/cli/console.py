"""What a person sees: tables on stdout, progress and errors on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from edgenext.cli.progress import shown_progress
from edgenext.schema import (
    Evidence,
    GateReport,
)

WIDE = 200
"""Columns of a table that goes to a file or a pipe: nothing is cut there."""

if TYPE_CHECKING:
    from edgenext.commands.context import Context


out = Console(highlight=False, width=None if sys.stdout and sys.stdout.isatty() else WIDE)
err = Console(
    stderr=True, highlight=False, width=None if sys.stderr and sys.stderr.isatty() else WIDE
)
_quiet = False


def set_up(*, verbose: bool, quiet: bool, color: bool) -> None:
    """Send the package's log to stderr: warnings, everything, or errors alone; colours or none."""
    global _quiet
    _quiet = quiet
    if not color:
        out.no_color = err.no_color = True
    if not logging.getLogger().handlers:  # a library's logging.warning would add one, for all logs
        logging.getLogger().addHandler(logging.NullHandler())
    handler = RichHandler(console=err, show_time=False, show_path=False, markup=False)
    logger = logging.getLogger("edgenext")
    logger.handlers = [handler]
    level = logging.ERROR if quiet else logging.WARNING
    logger.setLevel(logging.INFO if verbose else level)


@contextlib.contextmanager
def working() -> Iterator[Context]:
    """A context whose progress is shown on stderr."""
    from edgenext.commands.context import Context

    with shown_progress(err, quiet=_quiet) as progress:
        yield Context(progress)


@contextlib.contextmanager
def busy(task: str) -> Iterator[None]:
    """A task that cannot say how far it is, shown on stderr."""
    with shown_progress(err, quiet=_quiet) as progress:
        progress(task, 0, 0)
        yield


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1
) -> None:
    """Print a table; its first columns, of text, are aligned to the left, the others right."""
    if title:  # a table's own title is wrapped at the table's width
        out.print(title)
    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i < text_columns else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def show_data(info: object, *, stratified: bool = True) -> None:
    """What stands under a table when the images were a subset, or some were broken or unusual.

    Args:
        info: of the images.
        stratified: whether to say how a subset was drawn by class.
    """
    from edgenext.data.unread import notes
    from edgenext.schema import SubsetInfo

    if isinstance(info, SubsetInfo):
        if stratified and info.n < info.n_total:
            out.print(f"a stratified subset of {info.n} of {info.n_total} images, seed {info.seed}")
        if info.corrupt:
            count = len(info.corrupt)
            images = "1 image" if count == 1 else f"{count} images"
            out.print(f"{images} could not be decoded: {listed(info.corrupt)}", soft_wrap=True)
        for note in notes(info):
            out.print(note, soft_wrap=True, markup=False)


def listed(names: Sequence[str], most: int = 10, of: int = 0) -> str:
    """Names in a row, the first few of many; `of` how many there are, if more than the names."""
    more = max(of, len(names)) - len(names[:most])
    return ", ".join(names[:most]) + (f" and {more} more" if more else "")


def show_evidence(artifact: str, runtime: str, evidence: Evidence) -> None:
    """Say of a number that was not made where the file will run, or by no real runtime."""
    if evidence not in ("host", "device"):
        out.print(f"{artifact}: {evidence}, by {runtime}", soft_wrap=True)


def show_gate(report: GateReport) -> None:
    """What became of the conditions, and the exit code that they mean.

    Raises:
        GateFailedError: one holds.
        UndecidedError: one is undecided that had to be decided.
    """
    from edgenext import api

    if not _quiet:
        for case in report.cases:
            if not case.is_broken:
                text = f"{case.outcome}: {case.artifact}: not {case.condition}: {case.detail}"
                text = text if case.outcome == "passed" else text.replace(": not ", ": ", 1)
                err.print(text, soft_wrap=True, markup=False)
    api.require_passed(report)


def announce(stage: str, needed: bool) -> None:
    """A stage of a run begins, or needs not be done again."""
    if not _quiet:
        err.print(f"{stage}{'' if needed else ': unchanged'}", markup=False, soft_wrap=True)


def note(text: str) -> None:
    """What a person should know, on stderr; nothing with --quiet."""
    if not _quiet:
        err.print(text, soft_wrap=True, markup=False)


def print_json(value: object) -> None:
    """JSON alone on stdout."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
