"""Which session runs an artifact, by the rows of the formats, and what profiles it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

from edgenext.errors import ArtifactError, UsageError
from edgenext.formats.format import FORMATS, PACKAGE, ROWS

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.formats.session import Session
    from edgenext.schema import Manifest


def runtime_of(manifest: Manifest, target: str = "") -> ModuleType:
    """The module `session` that runs an artifact; its `preload()` imports the package it drives.

    Args:
        manifest: of the artifact.
        target: whose runtime it must be; if empty, any that takes the file.

    Raises:
        ArtifactError: no runtime for the format, or none that computes as the target does.
    """
    return import_module(f"{PACKAGE}.{runtime_folder(manifest, target)}.session")


def runtime_folder(manifest: Manifest, target: str = "") -> str:
    """The folder whose session runs an artifact; see `runtime_of`."""
    candidates = [
        (row.folder, execution)
        for row in ROWS
        for execution in row.runs
        if execution.format == manifest.format
    ]
    for folder, execution in candidates:
        if execution.target == (target or manifest.target) and (target or not execution.on_request):
            return folder
    if target:
        targets = " or ".join(execution.target for _, execution in candidates)
        raise ArtifactError(
            f"no runtime on this machine runs {manifest.file} ({manifest.format}) as {target} does",
            f"Use --target {targets}" if targets else "Leave --target out",
        )
    if manifest.format not in FORMATS:
        raise ArtifactError(f"no runtime for format {manifest.format!r}")
    row = FORMATS[manifest.format]
    return row.session or row.folder


def runtime_for(format: str, target: str) -> ModuleType:  # noqa: A002 - the options' name
    """The module `session` that runs files of a format on this machine as a target does.

    Raises:
        ArtifactError: there is none.
    """
    for row in ROWS:
        if any((run.format, run.target) == (format, target) for run in row.runs):
            return import_module(f"{PACKAGE}.{row.folder}.session")
    raise ArtifactError(f"no runtime on this machine runs {format} files as {target} does")


def open_session(artifact: Artifact, threads: int = 1, target: str = "") -> Session:
    """Load an artifact into the runtime of its format and target.

    Args:
        artifact: an opened artifact.
        threads: inside an operator.
        target: see `runtime_of`.

    Raises:
        ArtifactError: no runtime for the format.
        MissingDependencyError: the runtime is not installed.
        RuntimeFailedError: the runtime rejects the file.
    """
    session: Session = runtime_of(artifact.manifest, target).open_session(artifact, threads)
    return session


def profiler_of(artifact: Artifact) -> ModuleType:
    """The module that profiles an artifact in the runtime that runs it.

    Raises:
        UsageError: its runtime does not say how long an operator takes.
    """
    folder = runtime_folder(artifact.manifest)
    if not _has_profile(folder):
        row = FORMATS[artifact.manifest.format]
        known = " or ".join(row.title for row in ROWS if _has_profile(row.folder))
        raise UsageError(
            f"{artifact.path} is a {row.title} file, whose runtime here does not say how long an "
            "operator takes",
            f"Profile the {known} file of the same network: edgenext export",
        )
    return import_module(f"{PACKAGE}.{folder}.profile")


def _has_profile(folder: str) -> bool:
    return find_spec(f"{PACKAGE}.{folder}.profile") is not None
