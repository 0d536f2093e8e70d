"""Images by their paths and content hashes, that a process on another machine can load."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edgenext.commands.context import Role
from edgenext.data import ImageSet, digits
from edgenext.data.dataset import Decoder
from edgenext.data.loading import open_indexed
from edgenext.data.pool import Item
from edgenext.errors import DataError
from edgenext.schema import EvalTransform, Record, SubsetInfo
from edgenext.system.names import data_name
from edgenext.system.progress import quiet


class ListedImages(Record):
    """A set of images without their pixels.

    `data` is the path of their folder or zip where the list was made; `role` matters to the
    embedded digits alone. The other fields are those of `ImageSet`.
    """

    data: str
    role: Role
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    labels: tuple[int, ...]
    transform: EvalTransform
    info: SubsetInfo
    classes: tuple[str, ...]

    @staticmethod
    def of(images: ImageSet, data: str | Path, role: Role) -> ListedImages:
        """The list of images of a data set."""
        path = str(data) if str(data) == digits.NAME else str(Path(data).absolute())
        return ListedImages(
            data=path,
            role=role,
            names=images.names,
            hashes=images.hashes,
            labels=tuple(map(int, images.labels)),
            transform=images.transform,
            info=images.info,
            classes=images.classes,
        )

    def load(self) -> ImageSet:
        """The images, decoded on this machine.

        Raises:
            DataError: the data set is not here, or has other images.
        """
        path = self._place()
        items = [Item(*pair) for pair in zip(self.names, self.hashes, strict=True)]
        decoder = Decoder(None, 1, quiet)
        if str(path) == digits.NAME:
            decoded = decoder.render(open_indexed(path, self.role), path, items, self.transform)
        else:
            try:
                decoded = decoder.decode(path, items, self.transform)
            except DataError as e:
                raise DataError(e.message, "The worker needs the same data set as the sweep") from e
        for i, reason in decoded.broken.items():
            raise DataError(f"{self.names[i]} in {path} cannot be read here: {reason}")
        labels = np.array(self.labels, np.int64)
        return ImageSet(
            decoded.pixels,
            labels,
            self.hashes,
            self.names,
            self.transform,
            self.info,
            self.classes,
            decoded.kinds,
        )

    def _place(self) -> Path:
        """Where the data set is here: at its path, or under its name in a folder for data sets."""
        if self.data == digits.NAME:
            return Path(self.data)
        name = data_name(self.data)
        folders = filter(None, os.environ.get("EDGENEXT_DATA", "").split(os.pathsep))
        for path in (Path(self.data), *(Path(folder) / name for folder in folders)):
            if path.exists():
                return path
        raise DataError(
            f"there is no data set {name} here",
            "Set EDGENEXT_DATA for the worker to the folder that it is in",
        )
