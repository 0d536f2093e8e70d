"""Loading images for a model: list, pick, decode, label."""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from edgenext.data import digits
from edgenext.data.cache import Decoded, cached
from edgenext.data.classes import class_ids
from edgenext.data.images import ImageSet, subset_digest
from edgenext.data.pool import Item, decode_all, default_workers
from edgenext.data.sources import IndexedSource, UnreadableError, find_layout, open_source
from edgenext.data.subset import check_limit, stratified, too_few
from edgenext.errors import DataError, UsageError
from edgenext.schema import EvalTransform, SubsetInfo
from edgenext.system.files import cache_folder
from edgenext.system.progress import Progress, quiet

MOST_WARNINGS = 10
"""Broken images that are warned of one by one."""

_log = logging.getLogger(__name__)


def load_images(
    data: str | Path,
    transform: EvalTransform,
    *,
    role: Literal["train", "val"],
    num_classes: int,
    labels: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    exclude: Collection[str] = (),
    cache_dir: Path | None = None,
    workers: int | None = None,
    source: IndexedSource | None = None,
    progress: Progress = quiet,
) -> ImageSet:
    """Load the images of a folder, a zip or the embedded digits for a model.

    Broken images are logged and named in `info.corrupt`; they are not in n. With a `limit` they
    are replaced by others of their class.

    Args:
        data: ``digits``, or a folder or zip of class folders, with or without train/ and val/.
        transform: how images become pixels; digits are enlarged whole.
        role: the split to take where the data has several.
        num_classes: outputs of the model's head.
        labels: the model's class ids; the folders may be some of them.
        limit: pick this many, as evenly over the classes as can be.
        seed: draws the pick.
        exclude: content hashes of images that must not be picked.
        cache_dir: where decoded images are kept; default $EDGENEXT_CACHE or ~/.cache/edgenext.
        workers: processes that decode; default one per processor, at most 4.
        source: the data, opened before; it keeps what it has listed and hashed.
        progress: told how many images are decoded.

    Raises:
        UsageError: a limit below 1, or a transform that cannot be.
        DataError: no images, classes the model does not have, or fewer images than asked for.
        OutputError: the cache cannot be written.
    """
    check_limit(limit)
    _check_transform(transform)
    if workers is not None and workers < 1:
        raise UsageError(f"cannot decode with {workers} workers: at least 1")
    load = _Loading(data, transform, role, num_classes, labels, source or open_indexed(data, role))
    items, excluded = load.pick(limit, seed, frozenset(exclude))
    decoded = load.decode(items, cache_dir, workers, progress)
    while limit is not None and decoded.broken:
        # Picked, but not an image: remember it and let the next of its class take its place.
        load.report_broken(items, decoded)
        items, excluded = load.pick(limit, seed, frozenset(exclude))
        decoded = load.decode(items, cache_dir, workers, progress)
    load.report_broken(items, decoded)
    good = [item for i, item in enumerate(items) if i not in decoded.broken]
    if not good:
        raise DataError(
            f"no image in {data} can be used: {len(load.broken)} broken, {excluded} left out"
        )
    hashes = tuple(item.hash for item in good)
    targets = np.array([load.label[item.path] for item in good], np.int64)
    info = SubsetInfo(
        data=str(data),
        split=load.split,
        sha256=subset_digest(hashes, targets, transform),
        n=len(good),
        n_total=len(load.label) - len(load.broken) - excluded,
        seed=seed,
        corrupt=tuple(sorted(load.broken)),
    )
    names = tuple(item.path for item in good)
    return ImageSet(decoded.pixels, targets, hashes, names, transform, info, load.classes)


def open_indexed(data: str | Path, role: str) -> IndexedSource:
    """The folder, zip or embedded digits called `data`.

    Raises:
        DataError: nothing there, or neither a folder nor a zip.
    """
    if str(data) == digits.NAME:
        return IndexedSource(digits.DigitSource(role))
    return IndexedSource(open_source(Path(data)))


def count_classes(
    data: str | Path, role: Literal["train", "val"], source: IndexedSource | None = None
) -> int:
    """How many classes a data set has: its class folders that are not empty.

    Raises:
        DataError: no data, or no images.
    """
    if str(data) == digits.NAME:
        return digits.NUM_CLASSES
    source = source or open_indexed(data, role)
    root = find_layout(source, Path(data), role, frozenset()).path
    prefix = f"{root}/" if root else ""
    below = (path.removeprefix(prefix).partition("/") for path in source.images(root))
    return len({folder for folder, _, name in below if name})


class _Loading:
    """What one call of `load_images` knows of its data."""

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
        self.split = split
        self.by_class = self._list(root)
        if not any(self.by_class.values()):
            raise DataError(f"{data} holds no images")
        used = [name for name, images in self.by_class.items() if images]
        # Without ids an empty class folder still counts, or the others would move up.
        named = used if labels is not None else list(self.by_class)
        self.classes = class_ids(str(data), named, num_classes, labels)
        index = {name: i for i, name in enumerate(self.classes)}
        self.label = {path: index[name] for name in used for path in self.by_class[name]}
        self.broken: dict[str, str] = {}
        self.hashes: dict[str, str] = {}

    def _list(self, root: str) -> dict[str, list[str]]:
        """Image paths by class folder."""
        prefix = f"{root}/" if root else ""
        found: dict[str, list[str]] = {name: [] for name in self.source.folders(root)}
        stray = 0
        for path in self.source.images(root):
            name, below, _ = path.removeprefix(prefix).partition("/")
            if below:
                found[name].append(path)
            else:
                stray += 1
        if stray:
            _log.warning("%d images in %s are in no class folder: ignored", stray, self.data)
        return found

    def hash(self, path: str) -> str | None:
        """The content hash, or None and a note for what cannot be read."""
        if path not in self.hashes and path not in self.broken:
            try:
                self.hashes[path] = self.source.content_hash(path)
            except UnreadableError as e:
                self._broken(path, str(e))
        return self.hashes.get(path) if path not in self.broken else None

    def pick(self, limit: int | None, seed: int, exclude: frozenset[str]) -> tuple[list[Item], int]:
        """The images to decode, in the order of labels and names, and how many were left out.

        Only what is picked is read: a subset of a large data set costs little.
        """
        left_out = 0

        def accept(path: str) -> bool:
            nonlocal left_out
            digest = self.hash(path)
            left_out += digest in exclude
            return digest is not None and digest not in exclude

        if limit is None:
            picked = [path for path in self.label if accept(path)]
        else:
            picked = stratified(list(self.by_class.values()), limit, seed, accept)
            if len(picked) < limit:
                raise too_few(str(self.data), limit, len(picked), left_out)
        picked.sort(key=lambda path: (self.label[path], path))
        return [Item(path, self.hashes[path]) for path in picked], left_out

    def decode(
        self,
        items: list[Item],
        cache_dir: Path | None,
        workers: int | None,
        progress: Progress,
    ) -> Decoded:
        """Pixels of the items; digits are drawn each time, files come through the cache."""
        size, task = self.transform.size, f"decoding {self.data}"

        def counted(
            images: Iterable[bytes | UnreadableError],
        ) -> Generator[bytes | UnreadableError]:
            for done, image in enumerate(images, 1):
                yield image
                progress(task, done, len(items))

        if self.embedded:
            drawn = (digits.render(self.source.read(i.path), self.transform) for i in items)
            pixels = np.frombuffer(
                b"".join(x for x in counted(drawn) if isinstance(x, bytes)), np.uint8
            )
            return Decoded(pixels.reshape(-1, size, size, 3), {})
        if not items:
            return Decoded(np.empty((0, size, size, 3), np.uint8), {})
        folder = cache_folder("images", cache_dir)
        count = workers or default_workers()
        found = cached(
            folder,
            [i.hash for i in items],
            self.transform,
            lambda: counted(decode_all(self.data, items, self.transform, count)),
        )
        progress(task, len(items), len(items))
        return found

    def report_broken(self, items: list[Item], decoded: Decoded) -> None:
        """Note and log the items that could not be decoded."""
        for i, reason in decoded.broken.items():
            self._broken(items[i].path, reason)

    def _broken(self, path: str, reason: str) -> None:
        if len(self.broken) < MOST_WARNINGS:
            _log.warning("%s in %s is broken and not counted: %s", path, self.data, reason)
        elif len(self.broken) == MOST_WARNINGS:
            _log.warning("more images in %s are broken: the result names them all", self.data)
        self.broken[path] = reason


def _check_transform(transform: EvalTransform) -> None:
    if transform.size < 1 or not 0 < transform.crop_pct <= 1:
        raise UsageError(
            f"no image can be {transform.size} pixels cut from {transform.crop_pct:g} of its short "
            "side: the size is at least 1, the part above 0 and at most 1"
        )
