"""What a vendor's compiler says of a file, without a device: the `check.py` of a format's folder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from edgenext.errors import ArtifactError, UsageError
from edgenext.formats.format import PACKAGE, ROWS, Check
from edgenext.targets.target import require_target

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport

CHECKS: tuple[tuple[str, Check], ...] = tuple((row.folder, row.check) for row in ROWS if row.check)
"""Folders with a compiler to ask, and what their rows say of it."""


def check_artifact(artifact: Artifact, target: str = "", **options: str) -> CheckReport:
    """Whether a vendor's compiler accepts a file, where every operator lands and why.

    Args:
        artifact: a checked artifact.
        target: whose compiler is asked; the artifact's own target unless given.
        options: of that compiler, by name, such as `soc`; empty ones are left out.

    Raises:
        UsageError: no such target, or an option that its compiler does not have.
        ArtifactError: a format that the compiler does not take.
        MissingDependencyError: the vendor's package is not installed.
        RuntimeFailedError: the vendor's code died.
    """
    target = target or artifact.manifest.target
    folder, row = _compiler(artifact, target)
    given = {name: value for name, value in options.items() if value}
    for option in given:
        if option not in row.options:
            remedy = f"It has {', '.join(row.options)}" if row.options else "Leave it out"
            raise UsageError(f"{target} has no option {option}", remedy)
    report: CheckReport = import_module(f"{PACKAGE}.{folder}.check").check(artifact, **given)
    return report


def _compiler(artifact: Artifact, target: str) -> tuple[str, Check]:
    """The folder whose compiler speaks for a target and takes a file's format, and its row."""
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
