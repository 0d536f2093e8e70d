"""Whether a vendor's compiler takes an artifact, and where every operator lands."""

from __future__ import annotations

from pathlib import Path

from edgenext.commands.context import Context
from edgenext.formats.artifact import open_artifact
from edgenext.formats.check import check_artifact
from edgenext.formats.isolated_session import require_no_crash
from edgenext.schema import CheckReport
from edgenext.system.durations import timed


def check(
    artifact: str | Path, *, target: str = "", context: Context | None = None, **options: str
) -> CheckReport:
    """Whether a vendor's compiler takes an artifact: see `edgenext check`.

    Args:
        artifact: path of the file.
        target: whose compiler is asked; the artifact's own target unless given.
        context: told that the compiler works.
        options: of that compiler, such as `soc`.

    Raises:
        ArtifactError: no artifact, or a format that the target does not take.
        UsageError: no such target, or an option that it does not have.
        MissingDependencyError: the vendor's package is not installed.
        RuntimeFailedError: the vendor's code died.

    >>> report = check(Path("edgenext_xx_small-32-fp32.onnx"))
    >>> report.accepted, report.compiler
    (True, 'onnxruntime')
    """
    opened = open_artifact(Path(artifact))
    progress = (context or Context()).progress
    manifest = opened.manifest
    place = target or manifest.target
    key = f"check {place} {manifest.format} {manifest.scheme} {manifest.arch} {manifest.eval.size}"
    with timed(progress, f"asking the compiler for {place}", key):
        require_no_crash(opened)
        return check_artifact(opened, target, **options)
