"""Does a vendor's compiler take a file? Answered without a device, by `check.py` of a folder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from edgenext.errors import ArtifactError, UsageError
from edgenext.formats.format import PACKAGE, ROWS, Compiler
from edgenext.targets.target import require_target

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport

CHECKS: tuple[tuple[str, Compiler], ...] = tuple(
    (row.folder, row.check) for row in ROWS if row.check
)
"""Folders with a compiler, and their rows' entries about it."""


def check_artifact(artifact: Artifact, target: str = "", **options: str) -> CheckReport:
    """Whether a vendor's compiler accepts a file, on which unit each operator runs, and why.

    Args:
        artifact: an opened artifact.
        target: whose compiler to use; if empty, that of the artifact's own target.
        options: of that compiler, by name, such as `soc`; empty values are ignored.

    Raises:
        UsageError: unknown target, or an option that its compiler does not have.
        ArtifactError: a format that the compiler does not take.
        MissingDependencyError: the vendor's package is not installed.
        RuntimeFailedError: the vendor's code crashed.
    """
    target = target or artifact.manifest.target
    folder, row = _compiler(artifact, target)
    options = {name: value for name, value in options.items() if value}
    for option in options:
        if option not in row.options:
            remedy = f"It has {', '.join(row.options)}" if row.options else "Leave it out"
            raise UsageError(f"{target} has no option {option}", remedy)
    report: CheckReport = import_module(f"{PACKAGE}.{folder}.check").check(artifact, **options)
    return report


def _compiler(artifact: Artifact, target: str) -> tuple[str, Compiler]:
    """The folder whose compiler is that of a target and takes the file's format, and its row."""
    require_target(target)
    rows = [(folder, row) for folder, row in CHECKS if row.target == target]
    if not rows:
        raise UsageError(f"no compiler is available for target {target}")
    for folder, row in rows:
        if artifact.manifest.format in row.formats:
            return folder, row
    formats = " or ".join(dict.fromkeys(name for _, row in rows for name in row.formats))
    raise ArtifactError(
        f"{target} takes {formats}, and {artifact.path.name} is {artifact.manifest.format}",
        f"Make one with `{rows[0][1].make}`",
    )
