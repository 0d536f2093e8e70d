"""Files with everything that the developer of an app needs, in one folder or zip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.commands.context import Context
from edgenext.commands.predict import predict
from edgenext.commands.subject import Subject
from edgenext.errors import DataError, UsageError
from edgenext.schema import EvalTransform, ExpectedAnswers, PackageResult

if TYPE_CHECKING:
    from PIL.Image import Image

    from edgenext.package.results import Accuracy


def package(
    artifacts: Sequence[str | Path],
    *,
    image: str | Path | None = None,
    data: str | Path | None = None,
    results: Path | None = None,
    out: Path = Path("package"),
    context: Context | None = None,
) -> PackageResult:
    """Put files and all that an app needs beside them into a folder or zip.

    See `edgenext package`.

    Args:
        artifacts: files of one network with one preprocessing; the first is the main one.
        image: the example.
        data: images of which the first that can be read is the example, where no image is given.
        results: what `eval --json` or `compare --json` printed, or a run's `run.json`.
        out: the folder, or a zip if its name ends so; an earlier package is replaced.
        context: what was loaded before.

    Raises:
        UsageError: files that differ in network or preprocessing, no example, or something else
            than a package at `out`.
        ArtifactError: a file that cannot be used, or a backbone.
        DataError: an example that is not an image.
        InputError: results without an accuracy of one of the files.
        OutputError: the package cannot be written; nothing is left behind.

    >>> result = package(["edgenext_xx_small-32-fp32.onnx"], data="digits")
    >>> result.package, result.samples[:2]
    ('package', ('sample.py', 'sample.mjs'))
    """
    from edgenext.formats.artifact import copy_artifact, open_artifact
    from edgenext.package.archive import new_package
    from edgenext.package.content import (
        EXAMPLE,
        require_alike,
        write_content,
        write_example,
    )

    context = context or Context()
    opened = [open_artifact(path) for path in artifacts]
    for artifact in opened:
        Subject(artifact=artifact).require_logits()
    require_alike(opened)
    accuracies = _accuracies(results, {artifact.manifest.sha256 for artifact in opened})
    example = _example(image, data, opened[0].manifest.eval)
    with new_package(out) as folder:
        copies = [copy_artifact(artifact, folder) for artifact in opened]
        picture = write_example(example, folder)
        answers = {
            copy.path.name: predict(copy.path, [picture], context=context).images[0].classes
            for copy in copies
        }
        expected = ExpectedAnswers(image=EXAMPLE, files=answers)
        samples, notes = write_content(folder, copies, expected, accuracies)
        content = sorted(path for path in folder.rglob("*") if path.is_file())
        files = [path.relative_to(folder).as_posix() for path in content]
        size = sum(path.stat().st_size for path in content)
    return PackageResult(
        package=str(out),
        files=tuple(sorted([*files, "SHA256SUMS"])),
        samples=tuple(samples),
        size_bytes=size,
        expected=answers,
        notes=tuple(notes),
    )


def _accuracies(results: Path | None, hashes: set[str]) -> dict[str, Accuracy]:
    """The accuracies of the files that are packaged, by sha256."""
    from edgenext.package.results import read_results

    if results is None:
        return {}
    rows = {sha256: row for sha256, row in read_results(results).items() if sha256 in hashes}
    if not rows:
        raise UsageError(
            f"{results} has no accuracy of these files", "Evaluate them: edgenext eval FILE --json"
        )
    return rows


def _example(image: str | Path | None, data: str | Path | None, transform: EvalTransform) -> Image:
    """The example image, at its own size."""
    import PIL.Image

    from edgenext.data import digits
    from edgenext.data.decode import decode_whole
    from edgenext.data.files import UnreadableError
    from edgenext.data.loading import open_indexed
    from edgenext.data.sources import MAX_FILE_BYTES
    from edgenext.system.reading import read_file

    if image is not None:
        try:
            content = read_file(Path(image), DataError, MAX_FILE_BYTES)
            return decode_whole(content, transform.exif)
        except UnreadableError as e:
            raise DataError(f"{image} cannot be used: {e}") from e
    if data is None:
        raise UsageError("no example image", "Give one with --image, or images with --data")
    source = open_indexed(data, "val")
    for path in source.images(""):
        try:
            if str(data) == digits.NAME:
                size = (transform.size, transform.size)
                return PIL.Image.frombytes("RGB", size, digits.render(source.read(path), transform))
            return decode_whole(source.read(path), transform.exif)
        except UnreadableError:
            continue
    raise DataError(f"{data} has no image that can be read")
