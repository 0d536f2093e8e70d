"""What of a data set is not read, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

from edgenext.data import heif, kinds
from edgenext.data.files import ending
from edgenext.data.sources import IndexedSource
from edgenext.errors import DataError
from edgenext.schema import SubsetInfo, UnreadFiles
from edgenext.system.reading import readable

EXAMPLES = 5
"""Files of an ending that are named."""
ENDINGS, OTHER = 10, ".*"
"""Endings that are counted separately, and how all others are called."""


def unread_files(source: IndexedSource, root: str) -> tuple[UnreadFiles, ...]:
    """The files in the class folders of `root` that are not read as images, the most first."""
    prefix = f"{root}/" if root else ""
    by_ending: dict[str, list[str]] = {}
    for file in source.files(root):
        if not source.is_image(file) and "/" in file.removeprefix(prefix):
            by_ending.setdefault(ending(file), []).append(file)
    groups = sorted(by_ending.items(), key=lambda group: (-len(group[1]), group[0]))
    if len(groups) > ENDINGS:
        rest = [file for _, files in groups[ENDINGS - 1 :] for file in files]
        groups = [*groups[: ENDINGS - 1], (OTHER, rest)]
    return tuple(
        UnreadFiles(
            ending=readable(name),
            n=len(files),
            examples=tuple(map(readable, files[:EXAMPLES])),
        )
        for name, files in groups
    )


def no_images(data: str, unread: Sequence[UnreadFiles]) -> DataError:
    """The error for a data set in which no file is read as an image."""
    if not unread:
        return DataError(f"{data} has no images")
    return DataError(f"{data} has no images that are read, only {_listed(unread)}", _remedy(unread))


def notes(info: SubsetInfo) -> list[str]:
    """What to know of a set: its side of a division, what is not read, unusual kinds of images."""
    lines = []
    if info.division:
        lines.append(side_of(info))
    if info.unread:
        n = sum(files.n for files in info.unread)
        verb = "file in its class folders is" if n == 1 else "files in its class folders are"
        remedy = f". {_remedy(info.unread)}" if _remedy(info.unread) else ""
        lines.append(f"{info.data}: {n} {verb} not read: {_listed(info.unread)}{remedy}")
    if info.empty_classes:
        count, names = len(info.empty_classes), ", ".join(info.empty_classes[:EXAMPLES])
        more = f" and {count - EXAMPLES} more" if count > EXAMPLES else ""
        nouns = "1 class has" if count == 1 else f"{count} classes have"
        lines.append(f"{info.data}: {nouns} no image that is read: {names}{more}")
    if info.kinds:
        images = "its image" if info.n == 1 else f"its {info.n} images"
        unusual = kinds.description(info.kinds, info.exif)
        lines.append(f"{info.data}: among {images}: {unusual}")
    return lines


def side_of(info: SubsetInfo) -> str:
    """Which side of its division a set is."""
    if info.division is None:
        return ""
    held = info.split == "val"
    share = 100 * (info.division.share if held else 1 - info.division.share)
    side = "held out from training and calibration" if held else "to train and calibrate on"
    return (
        f"{info.data} has no train/ and val/ folders: its {info.n_total} images here are the "
        f"{share:g} % of each class that are {side} (seed {info.division.seed})"
    )


def _listed(unread: Sequence[UnreadFiles]) -> str:
    """Such as `50 .heic (a/1.heic, …), 1 without an ending (a/notes)`."""
    return ", ".join(
        f"{files.n} {files.ending or 'without an ending'} "
        f"({files.examples[0]}{', …' if files.n > 1 else ''})"
        for files in unread
    )


def _remedy(unread: Sequence[UnreadFiles]) -> str:
    endings = {files.ending for files in unread}
    if endings & (heif.ENDINGS - heif.readable_endings()):
        return "To read HEIC images: pip install 'edgenext[heic]'"
    return ""
