"""Which session runs an artifact: what the formats' rows say of it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from edgenext.errors import ArtifactError
from edgenext.formats.format import FORMATS, PACKAGE, ROWS

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.formats.session import Session
    from edgenext.schema import Manifest


def runtime_of(manifest: Manifest, target: str = "") -> ModuleType:
    """The module `session` that runs an artifact; its `preload()` imports the package it drives.

    Args:
        manifest: the artifact's.
        target: whose runtime it must be; unless given, any that takes the file.

    Raises:
        ArtifactError: no runtime for the format, or none that computes as the target does.
    """
    return import_module(f"{PACKAGE}.{_folder(manifest, target)}.session")


def _folder(manifest: Manifest, target: str) -> str:
    """The folder whose session runs an artifact; see `runtime_of`."""
    executions = [
        (row.folder, execution)
        for row in ROWS
        for execution in row.runs
        if execution.format == manifest.format
    ]
    wanted = target or manifest.target
    for folder, execution in executions:
        if execution.target == wanted and (target or not execution.on_request):
            return folder
    if target:
        able = " or ".join(execution.target for _, execution in executions)
        raise ArtifactError(
            f"nothing here runs {manifest.file} ({manifest.format}) as {target} does",
            f"Use --target {able}" if able else "Leave --target out",
        )
    if manifest.format not in FORMATS:
        raise ArtifactError(f"no runtime for format {manifest.format!r}")
    row = FORMATS[manifest.format]
    return row.session or row.folder


def open_session(artifact: Artifact, threads: int = 1, target: str = "") -> Session:
    """Load an artifact into the runtime of its format and target.

    Args:
        artifact: a checked artifact.
        threads: inside an operator.
        target: see `runtime_of`.

    Raises:
        ArtifactError: no runtime for the format.
        MissingDependencyError: the runtime is not installed.
        RuntimeFailedError: the runtime refuses the file.
    """
    session: Session = runtime_of(artifact.manifest, target).open_session(artifact, threads)
    return session
