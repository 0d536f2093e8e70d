"""The files of a data set by class: divided, picked and decoded."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgenext.data import digits
from edgenext.data.cache import DecodedImages, cached_images
from edgenext.data.classes import class_ids, class_index
from edgenext.data.division import part_of
from edgenext.data.files import UnreadableError
from edgenext.data.pool import Item, decode_all
from edgenext.data.sources import IndexedSource, find_layout
from edgenext.data.subset import stratified, too_few
from edgenext.data.unread import no_images, unread_files
from edgenext.errors import DataError
from edgenext.models.labels import class_key
from edgenext.schema import Division, EvalTransform
from edgenext.system.files import cache_folder
from edgenext.system.progress import Progress
from edgenext.system.reading import readable

MAX_WARNINGS = 10
"""Broken images that are logged one by one; the rest are summarised."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Decoder:
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


def class_images(source: IndexedSource, root: str) -> tuple[dict[str, list[str]], int]:
    """The paths of images by class folder of `root`, and how many images are in none."""
    prefix = f"{root}/" if root else ""
    by_class: dict[str, list[str]] = {name: [] for name in source.folders(root)}
    stray = 0
    for path in source.images(root):
        name, below, _ = path.removeprefix(prefix).partition("/")
        if below:
            by_class[name].append(path)
        else:
            stray += 1
    return by_class, stray


class Dataset:
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
        by_class, stray = class_images(self.source, root)
        if stray:
            _log.warning("%d images in %s are in no class folder: ignored", stray, self.data)
        return by_class

    def load(
        self,
        limit: int | None,
        up_to: bool,
        seed: int,
        exclude: frozenset[str],
        decoder: Decoder,
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

    def decode(self, items: list[Item], decoder: Decoder) -> DecodedImages:
        """Decode the items; images that cannot be decoded are recorded as broken."""
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
