"""Dividing a data set without split folders into images to train on and images to evaluate on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from edgenext.errors import DataError
from edgenext.schema import Division

Hashes = Mapping[str, str]
"""Content hashes by path, of the images that can be read."""


def held_out(by_class: Mapping[str, Sequence[str]], hashes: Hashes, division: Division) -> set[str]:
    """The content hashes of the images to evaluate on.

    Of each class it is the share of the division, at least one image and not all of them, the first
    in the order of the sha256 of seed and content. Identical images are on one side, also where
    they are in different classes: the side that the first of these classes puts them on.

    Args:
        by_class: paths of images by class.
        hashes: of their content; images without one are on no side.
        division: the seed and the share.

    >>> photos = {"cat": ["cat/1", "cat/2"], "dog": ["dog/1", "dog/2", "dog/3"]}
    >>> hashes = {path: path for paths in photos.values() for path in paths}
    >>> division = Division(data="photos", seed=0, share=0.3, sha256="")
    >>> sorted(path[:3] for path in held_out(photos, hashes, division))
    ['cat', 'dog']
    """

    def order(digest: str) -> bytes:
        return hashlib.sha256(f"{division.seed}\n{digest}".encode()).digest()

    held: dict[str, bool] = {}
    for name in sorted(by_class):
        own = sorted({hashes[path] for path in by_class[name] if path in hashes}, key=order)
        held_count = min(max(1, round(division.share * len(own))), len(own) - 1)
        held_count -= sum(held.get(digest, False) for digest in own)
        for i, digest in enumerate([digest for digest in own if digest not in held]):
            held[digest] = i < held_count
    return {digest for digest, is_held in held.items() if is_held}


def content_digest(hashes: Collection[str]) -> str:
    """The sha256 of the distinct content hashes of a data set, whatever its files are called."""
    return hashlib.sha256("\n".join(sorted(set(hashes))).encode()).hexdigest()


def part_of(
    by_class: Mapping[str, Sequence[str]], hashes: Hashes, division: Division, role: str
) -> dict[str, list[str]]:
    """The paths of one side by class: `val` is what is held out, `train` the rest.

    Raises:
        DataError: the data set is not the one that was divided.
    """
    if content_digest(hashes.values()) != division.sha256:
        raise DataError(
            f"{division.data} has changed since it was divided for training: which of its images "
            "were trained on is no longer known",
            f"Evaluate on other images, such as {division.data}/val/, or train again",
        )
    held = held_out(by_class, hashes, division)
    return {
        name: [p for p in paths if p in hashes and (hashes[p] in held) == (role == "val")]
        for name, paths in by_class.items()
    }
