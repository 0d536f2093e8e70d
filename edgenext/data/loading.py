"""Loading images for a model: list, pick, decode, label."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from edgenext.data import digits, kinds
from edgenext.data.cache import DecodedImages, cached_images
from edgenext.data.classes import class_ids, class_index
from edgenext.data.division import content_digest, part_of
from edgenext.data.images import ImageSet, subset_digest
from edgenext.data.pool import Item, decode_all, default_workers
from edgenext.data.sources import (
    IndexedSource,
    Layout,
    UnreadableError,
    find_layout,
    open_source,
)
from edgenext.data.subset import check_limit, stratified, too_few
from edgenext.data.unread import no_images, notes, unread_files
from edgenext.errors import DataError, UsageError
from edgenext.models.labels import class_key
from edgenext.schema import Division, EvalTransform, SubsetInfo
from edgenext.system.files import cache_folder
from edgenext.system.names import data_name
from edgenext.system.progress import Progress, quiet
from edgenext.system.reading import readable

MAX_WARNINGS = 10
"""Broken images that are logged one by one; the rest are summarised."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


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
    _check_transform(transform)
    if workers is not None and workers < 1:
        raise UsageError(f"the number of workers must be at least 1, not {workers}")
    source = source or open_indexed(data, role)
    dataset = _Dataset(data, transform, role, num_classes, labels, source)
    if division is not None and not dataset.embedded:
        dataset.divide(division, role)
    decoder = _Decoder(cache_dir, workers or default_workers(), progress)
    items, images, excluded = dataset.load(limit, up_to, seed, frozenset(exclude), decoder)
    if not items:
        raise DataError(
            f"no usable image in {data}: {len(dataset.broken)} broken, {excluded} excluded"
        )
    hashes = tuple(item.hash for item in items)
    targets = np.array([dataset.label[item.path] for item in items], np.int64)
    info = SubsetInfo(
        data=readable(data_name(data)),
        split=dataset.split,
        sha256=subset_digest(hashes, targets, transform),
        n=len(items),
        n_total=len(dataset.label) - len(dataset.broken) - excluded,
        seed=seed,
        corrupt=tuple(sorted(map(readable, dataset.broken))),
        exif=transform.exif,
        kinds=kinds.counts(images.kinds),
        unread=dataset.unread,
        empty_classes=dataset.empty,
        division=dataset.division,
    )
    _warn(info)
    names = tuple(readable(item.path) for item in items)
    return ImageSet(
        images.pixels, targets, hashes, names, transform, info, dataset.classes, images.kinds
    )


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


@dataclass(frozen=True)
class _Decoder:
    """How images are decoded: the cache, the number of processes, and the progress to report."""

    cache_dir: Path | None
    workers: int
    progress: Progress

    def render(
        self, source: IndexedSource, data: Path, items: list[Item], transform: EvalTransform
    ) -> DecodedImages:
        """Draw the items, which are digits; they are not cached."""
        images = (digits.render(source.read(item.path), transform) for item in items)
        pixels = np.frombuffer(b"".join(self._counted(images, data, len(items))), np.uint8)
        pixels = pixels.reshape(-1, transform.size, transform.size, 3)
        return DecodedImages(pixels, {}, np.zeros(len(items), np.uint8))

    def decode(self, data: Path, items: list[Item], transform: EvalTransform) -> DecodedImages:
        """The items from the cache, or decoded into it."""
        images = cached_images(
            cache_folder("images", self.cache_dir),
            [item.hash for item in items],
            transform,
            lambda: self._counted(
                decode_all(data, items, transform, self.workers), data, len(items)
            ),
        )
        self.progress(f"decoding {data}", len(items), len(items))
        return images

    def _counted(self, images: Iterable[T], data: Path, total: int) -> Generator[T]:
        for done, image in enumerate(images, 1):
            yield image
            self.progress(f"decoding {data}", done, total)


class _Dataset:
    """The files of a data set by class, and the broken ones among them."""

    def __init__(
        self,
        data: str | Path,
        transform: EvalTransform,
        role: str,
        num_classes: int,
        labels: Sequence[str] | None,
        source: IndexedSource,
    ) -> None:
        self.data, self.transform, self.source = Path(data), transform, source
        self.embedded = str(data) == digits.NAME
        root: str = ""
        split: str | None = role
        if not self.embedded:
            layout = find_layout(self.source, self.data, role, frozenset(labels or ()))
            root, split = layout.path, layout.split
        self.split, self._root = split, root
        self.by_class = self._list(root)
        self.unread = unread_files(self.source, root)
        self.empty = tuple(readable(name) for name, images in self.by_class.items() if not images)
        if not any(self.by_class.values()):
            raise no_images(str(data), self.unread)
        used = [name for name, images in self.by_class.items() if images]
        # Without labels an empty class folder still counts, or the other indices would shift.
        folders = used if labels is not None else list(self.by_class)
        self.classes = class_ids(str(data), list(map(readable, folders)), num_classes, labels)
        index = class_index(self.classes)
        self.label = {
            path: index[class_key(readable(name))] for name in used for path in self.by_class[name]
        }
        """Index of the class, by path."""
        self.broken: dict[str, str] = {}
        """Reason why an image cannot be used, by path."""
        self.division: Division | None = None

    def divide(self, division: Division, role: str) -> None:
        """Keep the images of one side of a division.

        Raises:
            DataError: other images than those that were divided, or none on this side.
        """
        digests = {path: self._content_hash(path) for path in self.source.images(self._root)}
        hashes = {path: digest for path, digest in digests.items() if digest is not None}
        self.by_class = part_of(self.by_class, hashes, division, role)
        kept = {path for paths in self.by_class.values() for path in paths}
        if not kept:
            raise DataError(
                f"no class of {self.data} has two different images, one to train and one to "
                "evaluate on"
            )
        self.label = {path: label for path, label in self.label.items() if path in kept}
        self.broken = {}
        self.split, self.division = role, division

    def _list(self, root: str) -> dict[str, list[str]]:
        """Image paths by class folder."""
        prefix = f"{root}/" if root else ""
        by_class: dict[str, list[str]] = {name: [] for name in self.source.folders(root)}
        stray = 0
        for path in self.source.images(root):
            name, below, _ = path.removeprefix(prefix).partition("/")
            if below:
                by_class[name].append(path)
            else:
                stray += 1
        if stray:
            _log.warning("%d images in %s are in no class folder: ignored", stray, self.data)
        return by_class

    def load(
        self,
        limit: int | None,
        up_to: bool,
        seed: int,
        exclude: frozenset[str],
        decoder: _Decoder,
    ) -> tuple[list[Item], DecodedImages, int]:
        """Pick and decode images.

        Returns:
            The usable images in the order of labels and names, decoded, and how many images were
            excluded.
        """
        items, excluded = self.pick(limit, up_to, seed, exclude)
        images = self.decode(items, decoder)
        while limit is not None and images.broken:
            # Pick again, now without the broken images: others of their class replace them.
            items, excluded = self.pick(limit, up_to, seed, exclude)
            images = self.decode(items, decoder)
        usable = [item for i, item in enumerate(items) if i not in images.broken]
        return usable, images, excluded

    def pick(
        self, limit: int | None, up_to: bool, seed: int, exclude: frozenset[str]
    ) -> tuple[list[Item], int]:
        """The images to decode, in the order of labels and names, and how many were excluded.

        Only picked images are read, so that a subset of a large data set costs little.
        """
        hashes: dict[str, str] = {}
        excluded = 0

        def accept(path: str) -> bool:
            nonlocal excluded
            digest = self._content_hash(path)
            if digest is None:
                return False
            if digest in exclude:
                excluded += 1
                return False
            hashes[path] = digest
            return True

        if limit is None:
            picked = [path for path in self.label if accept(path)]
        else:
            picked = stratified(list(self.by_class.values()), limit, seed, accept)
            if len(picked) < limit and not up_to:
                raise too_few(str(self.data), limit, len(picked), excluded)
        picked.sort(key=lambda path: (self.label[path], path))
        return [Item(path, hashes[path]) for path in picked], excluded

    def decode(self, items: list[Item], decoder: _Decoder) -> DecodedImages:
        """Decode the items; those that cannot be are recorded as broken."""
        if self.embedded:
            return decoder.render(self.source, self.data, items, self.transform)
        if not items:
            size = self.transform.size
            return DecodedImages(np.empty((0, size, size, 3), np.uint8), {}, np.empty(0, np.uint8))
        images = decoder.decode(self.data, items, self.transform)
        for i, reason in images.broken.items():
            self._set_broken(items[i].path, reason)
        return images

    def _content_hash(self, path: str) -> str | None:
        """The content hash; None for an image that is broken."""
        if path in self.broken:
            return None
        try:
            return self.source.content_hash(path)
        except UnreadableError as e:
            self._set_broken(path, str(e))
            return None

    def _set_broken(self, path: str, reason: str) -> None:
        if len(self.broken) < MAX_WARNINGS:
            name = readable(path)
            _log.warning("%s in %s is broken and not counted: %s", name, self.data, reason)
        elif len(self.broken) == MAX_WARNINGS:
            _log.warning("more images in %s are broken: the result lists all of them", self.data)
        self.broken[path] = reason


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
