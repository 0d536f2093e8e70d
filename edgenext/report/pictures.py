"""The images whose answer changed: a bounded number as small pictures, all of them as CSV."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from edgenext.report.answers import OUTCOMES, ChangedAnswers, Outcome
from edgenext.report.text import count, spreadsheet_text
from edgenext.schema import EvalTransform, EvaluatedImages

if TYPE_CHECKING:
    from edgenext.data.sources import Source

SHOWN = 48
"""Images in the page: with more it would be slow to open."""
SIDE = 96
"""Pixels of a picture."""
QUALITY = 80
"""Of its JPEG."""
CHANGED = "changed.csv"
"""The file with all images whose answer changed, beside the report."""
COLUMNS = ("image", "sha256_16", "outcome", "label", "base_answer", "answer", "base_margin")


@dataclass(frozen=True)
class Picture:
    """An image whose answer changed; `source` is a data URI, empty where it cannot be read."""

    name: str
    source: str
    outcome: Outcome
    label: str
    before: str
    after: str


@dataclass(frozen=True)
class ChangedImages:
    """How many answers changed, and some of the images."""

    about: str
    pictures: tuple[Picture, ...]
    note: str


@dataclass(frozen=True)
class ImageData:
    """Where the evaluated images can be read; nothing where `source` is None."""

    name: str
    source: Source | None

    def picture(self, name: str, digest: str, transform: EvalTransform) -> str:
        """An image as a data URI; empty if it is not there, or has other content than then."""
        from edgenext.data import digits
        from edgenext.data.decode import decode
        from edgenext.data.files import UnreadableError
        from edgenext.data.sources import content_hash

        path = PurePosixPath(name)
        if self.source is None or path.is_absolute() or ".." in path.parts:
            return ""
        small = transform.model_copy(update={"size": SIDE})
        try:
            data = self.source.read(name)
            if content_hash(data) != digest:
                return ""
            if self.name == digits.NAME:
                return _data_uri(digits.render(data, small))
            return _data_uri(decode(data, small).tobytes())
        except (UnreadableError, ValueError, LookupError, ArithmeticError, OSError):
            return ""


def image_data(name: str, run_dir: Path, data: str | Path | None = None) -> ImageData:
    """The evaluated data set: as given, else by its name in the current folder or beside the run.

    Args:
        name: as the run records it, without folders.
        run_dir: the run's folder.
        data: a folder, a zip or `digits`.

    Raises:
        DataError: `data` is given, and is neither a folder nor a zip.
    """
    from edgenext.data import digits
    from edgenext.data.sources import open_source
    from edgenext.errors import DataError

    if data is not None and str(data) != digits.NAME:
        return ImageData(name, open_source(Path(data)))
    if name == digits.NAME:
        return ImageData(name, digits.DigitSource("val"))
    if name and PurePath(name).name == name and name != "..":
        for folder in (Path(), run_dir, run_dir.resolve().parent, run_dir.resolve().parent.parent):
            try:
                if (folder / name).exists():
                    return ImageData(name, open_source(folder / name))
            except (DataError, OSError):
                continue
    return ImageData(name, None)


def _data_uri(pixels: bytes) -> str:
    """A JPEG of SIDE×SIDE RGB pixels, inside the page."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.frombytes("RGB", (SIDE, SIDE), pixels).save(buffer, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def class_name(images: EvaluatedImages | None, index: int) -> str:
    """What is shown of a class."""
    return images.classes[index] if images else f"class {index}"


def changed_images(
    answers: ChangedAnswers, images: EvaluatedImages | None, data: ImageData
) -> ChangedImages:
    """The changed answers, of which those that the base was surest of are shown.

    Args:
        answers: of all images.
        images: their names; None in runs of earlier versions.
        data: where they are read.
    """
    order = answers.ordered()
    pictures = tuple(_pictures(answers, images, data, _chosen(answers, order.tolist())))
    counts = dict(zip(OUTCOMES, (answers.lost, answers.gained, answers.other), strict=True))
    parts = ", ".join(f"{int(mask.sum()):,} {name}" for name, mask in counts.items())
    about = (
        f"Of {count(len(answers.labels), 'image')}, {len(order):,} got another answer ({parts})."
    )
    if len(order) > len(pictures):
        about += (
            f" The {len(pictures)} whose old answer was surest are shown; `{CHANGED}` has all "
            f"{len(order):,}."
        )
    return ChangedImages(about, pictures, _note(pictures, images, data))


def _chosen(answers: ChangedAnswers, order: list[int]) -> list[int]:
    """At most SHOWN, of each outcome a share; in the order given."""
    groups: dict[Outcome, list[int]] = {outcome: [] for outcome in OUTCOMES}
    for index in order:
        groups[answers.outcome(index)].append(index)
    chosen: list[int] = []
    for place, outcome in enumerate(OUTCOMES):
        # Room that other outcomes do not need is free; what was lost may take half.
        needed = sum(min(len(groups[other]), SHOWN // 4) for other in OUTCOMES[place + 1 :])
        chosen += groups[outcome][: SHOWN - len(chosen) - needed]
    return chosen


def _pictures(
    answers: ChangedAnswers, images: EvaluatedImages | None, data: ImageData, chosen: list[int]
) -> Iterator[Picture]:
    for index in chosen:
        name = images.names[index] if images else f"image {index}"
        source = ""
        if images:
            source = data.picture(name, images.hashes[index], images.transform)
        yield Picture(
            name=name,
            source=source,
            outcome=answers.outcome(index),
            label=class_name(images, int(answers.labels[index])),
            before=class_name(images, int(answers.before[index])),
            after=class_name(images, int(answers.after[index])),
        )


def _note(pictures: tuple[Picture, ...], images: EvaluatedImages | None, data: ImageData) -> str:
    """Why pictures are missing; empty if none is."""
    if images is None:
        return (
            "Without names and pictures: an earlier version made this run. `edgenext run` adds "
            "`images.json` when it evaluates again."
        )
    missing = sum(not picture.source for picture in pictures)
    if not missing:
        return ""
    if data.source is None:
        return (
            f"Without pictures: {data.name or 'the data set'} is not here. "
            "`edgenext report FOLDER --data IMAGES` adds them."
        )
    return f"{count(missing, 'picture')} cannot be read, or changed since the run."


def changed_csv(answers: ChangedAnswers, images: EvaluatedImages | None) -> str:
    """Every image whose answer changed, a row each."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for index in answers.ordered().tolist():
        label, before, after = (
            spreadsheet_text(class_name(images, int(classes[index])))
            for classes in (answers.labels, answers.before, answers.after)
        )
        writer.writerow(
            (
                spreadsheet_text(images.names[index]) if images else index,
                images.hashes[index] if images else "",
                answers.outcome(index),
                label,
                before,
                after,
                f"{answers.margin[index]:.4g}",
            )
        )
    return stream.getvalue()
