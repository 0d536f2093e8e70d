"""The images that commands use: to evaluate on, to calibrate on, to compare an export on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgenext.commands.context import Context, Role
from edgenext.commands.subject import Subject
from edgenext.data import ImageSet, digits
from edgenext.options import DataOptions, QuantizeOptions, with_exif

SAMPLE_IMAGES = 16
"""Images an export is compared on."""


def labelled_images(
    context: Context,
    subject: Subject,
    data: DataOptions,
    role: Role = "val",
    *,
    exclude: Sequence[str] = (),
) -> ImageSet:
    """The images of a data set as a network or artifact sees them, labelled with its classes."""
    num_classes, labels = subject.classes
    return context.images(
        data,
        with_exif(subject.transform, data.exif),
        role,
        num_classes=num_classes,
        labels=labels,
        exclude=exclude,
    )


def calibration_images(context: Context, subject: Subject, options: QuantizeOptions) -> ImageSet:
    """The images that INT8 ranges are measured on. Any classes will do: no label is read."""
    return context.images(
        DataOptions(options.calib, options.n, options.seed),
        subject.transform,
        "train",
        num_classes=context.count_classes(options.calib, "train"),
        exclude=options.exclude,
    )


def sample_images(context: Context, subject: Subject, data: str | Path | None) -> ImageSet:
    """A few real images to compare an export on: of `data`, else the embedded digits."""
    if data is not None:
        return labelled_images(context, subject, DataOptions(data, SAMPLE_IMAGES))
    return context.images(
        DataOptions(digits.NAME, SAMPLE_IMAGES),
        subject.transform,
        "val",
        num_classes=digits.NUM_CLASSES,
    )
