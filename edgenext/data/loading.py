"""Loading images for a model: list, pick, decode, label."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgenext.data import digits, kinds
from edgenext.data.dataset import Dataset, Decoder, class_images
from edgenext.data.division import content_digest
from edgenext.data.files import UnreadableError
from edgenext.data.images import ImageSet, subset_digest
from edgenext.data.photos import PhotoSet
from edgenext.data.pool import Item, default_workers
from edgenext.data.sources import IndexedSource, Layout, find_layout, open_source
from edgenext.data.subset import check_limit
from edgenext.data.unread import notes
from edgenext.errors import DataError, UsageError
from edgenext.schema import Division, EvalTransform, SubsetInfo
from edgenext.system.names import data_name
from edgenext.system.progress import Progress, quiet
from edgenext.system.reading import readable

_log = logging.getLogger(__name__)


def load_images(
    data: str | Path,
    transform: EvalTransform,
    *,
    role: Literal["train", "val"],
    num_classes: int,
    labels: Sequence[str] | None = None,
    limit: int | None = None,
    up_to: bool = False,
    seed: int = 0,
    division: Division | None = None,
    exclude: Collection[str] = (),
    cache_dir: Path | None = None,
    workers: int | None = None,
    source: IndexedSource | None = None,
    progress: Progress = quiet,
) -> ImageSet:
    """Load the images of a folder, a zip or the embedded digits for a model.

    Broken images are logged, listed in `info.corrupt` and not counted in n. With a `limit` they
    are replaced by others of their class.

    Args:
        data: ``digits``, or a folder or zip of class folders, with or without train/ and val/.
        transform: how images become pixels; digits are enlarged without cropping.
        role: the split to use if the data has several.
        num_classes: outputs of the model's head.
        labels: the model's class ids; the folders may be only some of them.
        limit: the number of images to pick, as evenly over the classes as possible.
        up_to: where there are fewer images than `limit`, all of them are taken.
        seed: seed of the pick.
        division: of a data set without split folders: only the images of `role` are used.
        exclude: content hashes of images that must not be picked.
        cache_dir: folder for decoded images; default the cache (`cache_folder`).
        workers: processes that decode; default one per processor, at most 4.
        source: the data if it is already open; its listings and hashes are reused.
        progress: receives the number of decoded images.

    Raises:
        UsageError: a limit or number of workers below 1, or an invalid transform.
        DataError: no images, classes the model does not have, fewer images than requested, or other
            images than those that were divided.
        OutputError: the cache cannot be written.
    """
    check_limit(limit)
    if workers is not None and workers < 1:
        raise UsageError(f"the number of workers must be at least 1, not {workers}")
    dataset = _dataset(data, transform, role, num_classes, labels, division, source)
    decoder = Decoder(cache_dir, workers or default_workers(), progress)
    items, images, excluded = dataset.load(limit, up_to, seed, frozenset(exclude), decoder)
    info, targets = _description(dataset, items, excluded, seed, kinds.counts(images.kinds))
    return ImageSet(
        images.pixels,
        targets,
        tuple(item.hash for item in items),
        tuple(readable(item.path) for item in items),
        transform,
        info,
        dataset.classes,
        images.kinds,
    )


def load_photos(
    data: str | Path,
    transform: EvalTransform,
    *,
    num_classes: int,
    labels: Sequence[str] | None = None,
    division: Division | None = None,
    exclude: Collection[str] = (),
    source: IndexedSource | None = None,
) -> PhotoSet:
    """The training images of a folder, zip or tar shards, hashed and not yet decoded.

    Args:
        data: class folders or shards, with or without train/ and val/.
        transform: of the network.
        num_classes: outputs of the model's head.
        labels: the model's class ids; the folders may be only some of them.
        division: of a data set without split folders.
        exclude: content hashes of images that must not be trained on.
        source: the data if it is already open; its listings and hashes are reused.

    Raises:
        UsageError: the embedded digits, which are no files.
        DataError: as for `load_images`.
    """
    dataset = _dataset(data, transform, "train", num_classes, labels, division, source)
    if dataset.embedded:
        raise UsageError(
            "the embedded digits are no photographs", "Train on them with loader = memory"
        )
    items, excluded = dataset.pick(None, False, 0, frozenset(exclude))
    info, targets = _description(dataset, items, excluded, 0, {})
    hashes = tuple(item.hash for item in items)
    paths = tuple(item.path for item in items)
    return PhotoSet(Path(data), paths, targets, hashes, transform, info, dataset.classes)


def _dataset(
    data: str | Path,
    transform: EvalTransform,
    role: str,
    num_classes: int,
    labels: Sequence[str] | None,
    division: Division | None,
    source: IndexedSource | None,
) -> Dataset:
    """The files of a data set, only those of one side if it is divided."""
    _check_transform(transform)
    source = source or open_indexed(data, role)
    dataset = Dataset(data, transform, role, num_classes, labels, source)
    if division is not None and not dataset.embedded:
        dataset.divide(division, role)
    return dataset


def _description(
    dataset: Dataset, items: Sequence[Item], excluded: int, seed: int, counts: dict[str, int]
) -> tuple[SubsetInfo, NDArray[np.int64]]:
    """What a set of images is, and its labels.

    Raises:
        DataError: there is no image.
    """
    if not items:
        raise DataError(
            f"no usable image in {dataset.data}: {len(dataset.broken)} broken, {excluded} excluded"
        )
    hashes = tuple(item.hash for item in items)
    targets = np.array([dataset.label[item.path] for item in items], np.int64)
    info = SubsetInfo(
        data=readable(data_name(dataset.data)),
        split=dataset.split,
        sha256=subset_digest(hashes, targets, dataset.transform),
        n=len(items),
        n_total=len(dataset.label) - len(dataset.broken) - excluded,
        seed=seed,
        corrupt=tuple(sorted(map(readable, dataset.broken))),
        exif=dataset.transform.exif,
        kinds=counts,
        unread=dataset.unread,
        empty_classes=dataset.empty,
        division=dataset.division,
    )
    _warn(info)
    return info, targets


def open_indexed(data: str | Path, role: str) -> IndexedSource:
    """The folder, zip or embedded digits called `data`.

    Raises:
        DataError: it does not exist, or is neither a folder nor a zip.
    """
    if str(data) == digits.NAME:
        return IndexedSource(digits.DigitSource(role), is_image=lambda _: True)
    return IndexedSource(open_source(Path(data)))


def count_classes(
    data: str | Path, role: Literal["train", "val"], source: IndexedSource | None = None
) -> int:
    """The number of classes of a data set: its class folders, empty ones included.

    Raises:
        DataError: the data does not exist, or has no class folders.
    """
    if str(data) == digits.NAME:
        return digits.NUM_CLASSES
    return len(class_folders(data, role, source))


def class_folders(
    data: str | Path, role: Literal["train", "val"], source: IndexedSource | None = None
) -> tuple[str, ...]:
    """The names of a data set's class folders, sorted, empty ones included.

    Raises:
        DataError: the data does not exist, or has no class folders.
    """
    source = source or open_indexed(data, role)
    root = "" if str(data) == digits.NAME else _layout(source, data, role).path
    return tuple(sorted(map(readable, source.folders(root))))


def images_by_folder(
    data: str | Path, role: Literal["train", "val"], source: IndexedSource | None = None
) -> dict[str, list[str]]:
    """The paths of a data set's images by class folder; of the embedded digits in one folder.

    Raises:
        DataError: the data does not exist, or has no class folders.
    """
    source = source or open_indexed(data, role)
    if str(data) == digits.NAME:
        return {"": source.images("")}
    root = _layout(source, data, role).path
    by_class, _ = class_images(source, root)
    return {readable(folder): images for folder, images in by_class.items()}


def divide(
    data: str | Path, seed: int, share: float, source: IndexedSource | None = None
) -> Division | None:
    """Divide a data set without split folders by the content of its images; all of them are read.

    Args:
        data: as for `load_images`.
        seed: another seed gives another division.
        share: of the images of each class that are for evaluation, above 0 and below 1.
        source: the data if it is already open.

    Returns:
        None for the embedded digits and for data with folders for both roles, such as ``train/``
        and ``val/``.

    Raises:
        DataError: the data does not exist, has no class folders, or fewer than two different
            images.
    """
    if str(data) == digits.NAME:
        return None
    source = source or open_indexed(data, "val")
    root = _layout(source, data, "val").path
    if root != _layout(source, data, "train").path:
        return None
    hashes = set()
    for path in source.images(root):
        with contextlib.suppress(UnreadableError):
            hashes.add(source.content_hash(path))
    if len(hashes) < 2:
        raise DataError(
            f"{data} has {'one image' if hashes else 'no images'}, which cannot be divided into "
            "images to train and to evaluate on"
        )
    name = readable(data_name(data))
    return Division(data=name, seed=seed, share=share, sha256=content_digest(hashes))


def _layout(source: IndexedSource, data: str | Path, role: str) -> Layout:
    return find_layout(source, Path(data), role, frozenset())


def _warn(info: SubsetInfo) -> None:
    """Tell what of a data set is not read, and which images are converted."""
    for line in notes(info.model_copy(update={"division": None})):  # said by who divides
        _log.warning("%s", line)


def _check_transform(transform: EvalTransform) -> None:
    if transform.size < 1 or not 0 < transform.crop_pct <= 1:
        raise UsageError(
            f"cannot crop images to size {transform.size} with crop_pct {transform.crop_pct:g}",
            "The size must be at least 1, and crop_pct above 0 and at most 1",
        )
