"""The images that commands use: to evaluate on, to calibrate on, to compare an export on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgenext.commands.context import Context, Role
from edgenext.commands.subject import Subject
from edgenext.data import ImageSet, digits
from edgenext.options import DEFAULT_CALIBRATION, DataOptions, QuantizeOptions, with_exif
from edgenext.schema import Division, EvalTransform
from edgenext.system.names import data_name
from edgenext.system.reading import readable

SAMPLE_IMAGES = 16
"""Images an export is compared on."""


def labelled_images(
    context: Context,
    subject: Subject,
    data: DataOptions,
    role: Role = "val",
    *,
    transform: EvalTransform | None = None,
    exclude: Sequence[str] = (),
) -> ImageSet:
    """The images of a data set as a network or artifact sees them, labelled with its classes.

    A backbone has none: any will do. With a `transform` they are prepared as another one sees them.
    """
    num_classes, labels = subject.classes
    if subject.is_backbone:
        num_classes = context.count_classes(data.data, role)
    return context.images(
        replace(data, division=data.division or recorded_division(subject, data.data)),
        with_exif(transform or subject.transform, data.exif),
        role,
        num_classes=num_classes,
        labels=labels,
        exclude=exclude,
    )


def calibration_images(context: Context, subject: Subject, options: QuantizeOptions) -> ImageSet:
    """The images that INT8 ranges are measured on. Any classes will do: no label is read."""
    most = DEFAULT_CALIBRATION if options.n is None else options.n
    division = options.division or recorded_division(subject, options.calib)
    images = context.images(
        DataOptions(options.calib, most, options.seed, up_to=options.n is None, division=division),
        subject.transform,
        "train",
        num_classes=context.count_classes(options.calib, "train"),
        exclude=options.exclude,
    )
    if len(images) < most:
        context.note(
            f"{options.calib}: calibrates on {len(images)} images, all that it has for this; "
            f"{most} are usual"
        )
    return images


def training_images(context: Context, subject: Subject, options: QuantizeOptions) -> ImageSet:
    """The images that a quantized graph is trained on. Any classes will do: no label is read."""
    assert options.qat is not None  # noqa: S101 - the caller trains
    data = options.qat.data or options.calib
    return context.images(
        DataOptions(
            data,
            options.qat.n,
            options.seed,
            division=options.division or recorded_division(subject, data),
        ),
        subject.transform,
        "train",
        num_classes=context.count_classes(data, "train"),
        exclude=options.exclude,
    )


def recorded_division(subject: Subject, data: str | Path) -> Division | None:
    """How a data set was divided when a network was trained or calibrated on it, if it was."""
    division = subject.division
    return division if division and division.data == readable(data_name(data)) else None


def sample_images(context: Context, subject: Subject, data: str | Path | None) -> ImageSet:
    """A few real images to compare an export on: of `data`, else the embedded digits."""
    if data is not None:
        return labelled_images(context, subject, DataOptions(data, SAMPLE_IMAGES, up_to=True))
    return context.images(
        DataOptions(digits.NAME, SAMPLE_IMAGES),
        subject.transform,
        "val",
        num_classes=digits.NUM_CLASSES,
    )
