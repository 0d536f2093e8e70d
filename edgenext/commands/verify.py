"""Compare files with every hash that is recorded of them, and make one again from its manifest."""

from __future__ import annotations

from pathlib import Path

from edgenext.commands.checks import Checks
from edgenext.commands.context import Context
from edgenext.commands.verify_folder import check_folder, uncovered
from edgenext.errors import DataError, InputError, UsageError
from edgenext.formats.artifact import Artifact, is_artifact, manifest_path
from edgenext.options import MODEL, ModelOptions
from edgenext.package.archive import is_package, opened_package
from edgenext.schema import Manifest, Rebuild, VerifyReport
from edgenext.system.sums import SUMS, read_sums


def verify(
    subject: Path,
    model_options: ModelOptions = MODEL,
    *,
    calib: str | Path | None = None,
    source: Path | None = None,
    rebuild: bool = False,
    context: Context | None = None,
) -> VerifyReport:
    """Compare files with every hash that is recorded of them: see `edgenext verify`.

    Args:
        subject: an artifact, the folder of a run, search, training, report or bundle, a result
            that `bench -o` wrote, or any file that a `SHA256SUMS` beside it lists.
        model_options: the weights that an artifact was made from, to compare them too.
        calib: the images that it was calibrated on, likewise; or more that contain them.
        source: the artifact that it was quantized from, likewise.
        rebuild: make the artifact again from what its manifest says, and compare the bytes.
        context: what was loaded before.

    Raises:
        InputError: nothing at the path, or nothing that has a recorded hash.
        UsageError: a folder is to be made again, or what an artifact was made from is not given.

    >>> report = verify(Path("edgenext_xx_small-32-fp32.onnx"), rebuild=True)
    >>> report.sound, report.rebuild.same
    (True, True)
    """
    if not subject.exists():
        raise InputError(f"nothing at {subject}")
    context = context or Context()
    subject = _of_manifest(subject)
    if is_package(subject) and not rebuild:
        with opened_package(subject) as folder:
            checks = Checks(folder)
            check_folder(folder, checks)
            return _report(subject, "package", checks, tuple(uncovered(folder, checks)))
    if is_artifact(subject) and manifest_path(subject).is_file():
        return _verify_artifact(subject, model_options, calib, source, rebuild, context)
    if rebuild:
        raise UsageError(f"{subject} is not an artifact", "Only an artifact can be made again")
    checks = Checks(subject if subject.is_dir() else subject.parent)
    if subject.is_dir():
        kind = "folder"
        check_folder(subject, checks)
    else:
        kind = "results" if checks.sealed(subject, "report_sha256") else "file"
        _check_line(subject, checks)
    if not checks.hashes and not checks.problems:
        raise InputError(
            f"no hash of {subject} is recorded",
            "Give an artifact, or a folder that `run`, `train`, `report` or a search wrote",
        )
    others = tuple(uncovered(subject, checks)) if subject.is_dir() else ()
    return _report(subject, kind, checks, others)


def _of_manifest(path: Path) -> Path:
    """The artifact of a manifest; any other path as it is."""
    artifact = path.with_name(path.name.removesuffix(".json"))
    return artifact if artifact != path and artifact.exists() and path.is_file() else path


def _verify_artifact(
    path: Path,
    model_options: ModelOptions,
    calib: str | Path | None,
    source: Path | None,
    rebuild: bool,
    context: Context,
) -> VerifyReport:
    """Compare an artifact with its manifest, and what it was made from with its source."""
    context.progress("comparing hashes", 0, 0)
    checks = Checks(path.parent)
    manifest = checks.artifact(path)
    for file in (path, manifest_path(path)):
        _check_line(file, checks)
    result: Rebuild | None = None
    if manifest is not None:
        _check_source(path, manifest, model_options, source, checks)
        if manifest.calibration and calib is not None:
            _check_calibration(path, manifest, calib, checks, context)
        if rebuild:
            artifact = Artifact(path, manifest)
            from edgenext.commands.rebuild import rebuild_artifact

            result = rebuild_artifact(
                artifact, model_options, calib=calib, source=source, context=context
            )
    return _report(path, "artifact", checks, (), result)


def _check_source(
    path: Path,
    manifest: Manifest,
    model_options: ModelOptions,
    source: Path | None,
    checks: Checks,
) -> None:
    """Compare the weights or the artifact that a file was made from, if they are at hand."""
    by, sha256 = checks.name(manifest_path(path)), manifest.source.get("sha256", "")
    kind = "artifact" if "artifact" in manifest.source else "weights"
    name = manifest.source.get(kind, "")
    chosen = source if kind == "artifact" else model_options.weights
    beside = path.with_name(name) if name else None
    file = chosen or (beside if beside and beside.is_file() else None)
    if ":" in sha256:  # weights that are in no file
        checks.notes.append(f"{name}: --rebuild compares them")
    elif file is not None and kind == "artifact":
        checks.content(file, by, sha256)
    elif file is not None:
        checks.file(file, by, sha256)
    elif name:
        flag = "--source" if kind == "artifact" else "--weights"
        checks.notes.append(f"made from {name}, which is not here: {flag} compares it")
    if manifest.calibration:
        checks.notes.append(
            f"calibrated on {manifest.calibration.subset.n} images of "
            f"{manifest.calibration.subset.data}: --calib compares them"
        )


def _check_calibration(
    path: Path, manifest: Manifest, calib: str | Path, checks: Checks, context: Context
) -> None:
    """Compare the images that a file was calibrated on."""
    checks.notes.pop()
    checks.hashes += 1
    try:
        from edgenext.commands.rebuild import calibrated_on

        calibrated_on(manifest, calib, context)
    except DataError as e:
        checks.fail(manifest_path(path), "the calibration images", f"is of others: {e.message}")


def _check_line(path: Path, checks: Checks) -> None:
    """Compare a file with its line in the `SHA256SUMS` beside it, if there is one."""
    sums = path.parent / SUMS
    if path.is_file() and sums.is_file():
        expected = read_sums(path.parent).get(path.name)
        if expected:
            checks.file(path, SUMS, expected)


def _report(
    subject: Path,
    kind: str,
    checks: Checks,
    others: tuple[str, ...],
    rebuild: Rebuild | None = None,
) -> VerifyReport:
    return VerifyReport(
        subject=subject.absolute().name,
        kind=kind,
        hashes=checks.hashes,
        files=len(checks.covered),
        problems=tuple(checks.problems),
        uncovered=others,
        notes=tuple(dict.fromkeys(checks.notes)),
        rebuild=rebuild,
    )
