"""The most probable classes of single images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgenext.commands.context import Context
from edgenext.commands.subject import Subject
from edgenext.data.decode import decode
from edgenext.data.files import UnreadableError, ending
from edgenext.data.sources import EXTENSIONS, MAX_FILE_BYTES
from edgenext.errors import DataError, InputError, UsageError
from edgenext.formats.session import Logits, logits
from edgenext.options import MODEL
from edgenext.options import ModelOptions as ModelOptions
from edgenext.package.archive import first_file, is_package, opened_package
from edgenext.schema import ClassScore, EvalTransform, ImagePrediction, PredictReport, UnreadImage
from edgenext.system.progress import Progress
from edgenext.system.reading import read_file, readable
from edgenext.targets.target import require_target


def predict(
    subject: str | Path,
    images: Sequence[str | Path],
    model_options: ModelOptions = MODEL,
    *,
    top: int = 5,
    target: str = "",
    context: Context | None = None,
) -> PredictReport:
    """The most probable classes of images: see `edgenext predict`.

    Args:
        subject: the name of a model, an artifact, or a package, of which the first file is taken.
        images: files, and folders whose images are all taken.
        model_options: where the model's weights come from.
        top: classes to return of each image.
        target: run an artifact in this target's runtime, not in its own.
        context: what was loaded before.

    Raises:
        UsageError: no image is named, `top` below 1, or no such target.
        DataError: none of the files is an image that can be used.

    >>> model = ModelOptions(random_weights=True, num_classes=10, size=32)
    >>> predict("edgenext_xx_small", ["none.jpg"], model)
    Traceback (most recent call last):
    edgenext.errors.DataError: none.jpg cannot be used: cannot read none.jpg: No such file...
    """
    if not images:
        raise UsageError("no image to predict", "Name image files or folders")
    if top < 1:
        raise UsageError(f"--top must be at least 1, not {top}")
    if target:
        require_target(target)
    context = context or Context()
    if is_package(Path(subject)):
        with opened_package(Path(subject)) as folder:
            main = first_file(folder)
            return predict(main, images, top=top, target=target, context=context)
    network = context.subject(subject, model_options)
    network.require_logits()
    with context.progress.steps("decoding images", "predicting"):
        return _predicted(network, images, top, target, context.progress)


def _predicted(
    network: Subject, images: Sequence[str | Path], top: int, target: str, progress: Progress
) -> PredictReport:
    pixels, unread = _decoded(images, network.transform, progress)
    if not pixels:
        first = unread[0]
        more = f", and {len(unread) - 1} more files" if len(unread) > 1 else ""
        raise DataError(f"{first.image} cannot be used: {first.reason}{more}")
    progress("predicting", 0, 0)
    session = network.session(target=target)
    values = np.concatenate(list(logits(session, np.stack(list(pixels.values())))))
    names = network.shown_names
    return PredictReport(
        artifact=network.name,
        sha256=network.sha256,
        scheme=network.scheme,
        runtime=session.runtime,
        evidence=session.evidence,
        images=tuple(
            ImagePrediction(image=name, classes=_best(row, names, top))
            for name, row in zip(pixels, values, strict=True)
        ),
        unread=tuple(unread),
    )


def _decoded(
    paths: Sequence[str | Path], transform: EvalTransform, progress: Progress
) -> tuple[dict[str, NDArray[np.uint8]], list[UnreadImage]]:
    """The pixels of every image by its name, size×size×3 uint8, and the files that are none."""
    pixels: dict[str, NDArray[np.uint8]] = {}
    unread = []
    files = list(_files(paths))
    for done, path in enumerate(files):
        progress("decoding images", done, len(files))
        name = readable(path)
        try:
            pixels[name] = decode(read_file(path, limit=MAX_FILE_BYTES), transform)
        except (InputError, UnreadableError) as e:
            unread.append(UnreadImage(image=name, reason=str(e)))
    return pixels, unread


def _files(paths: Sequence[str | Path]) -> Iterator[Path]:
    """Each file once, and the images of each folder in the order of their names."""
    for path in dict.fromkeys(map(Path, paths)):
        if not path.is_dir():
            yield path
            continue
        inside = [p for p in sorted(path.rglob("*")) if ending(p.name) in EXTENSIONS]
        if not inside:
            raise DataError(f"no image in the folder {readable(path)}")
        yield from inside


def _best(row: Logits, names: Sequence[str] | None, top: int) -> tuple[ClassScore, ...]:
    """The most probable classes of K logits; of equal ones the first."""
    shifted = np.exp(row.astype(np.float64) - row.max())
    probabilities = shifted / shifted.sum()
    return tuple(
        ClassScore(
            index=int(index),
            name=names[index] if names else "",
            probability=float(probabilities[index]),
        )
        for index in np.argsort(-row, kind="stable")[:top]
    )
