"""From the names of class folders to the outputs of a head."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgenext.errors import DataError
from edgenext.models import zoo

IMAGENET_CLASSES = 1000
_WNID = re.compile(r"n\d{8}")


def class_ids(
    data: str, found: Sequence[str], num_classes: int, labels: Sequence[str] | None
) -> tuple[str, ...]:
    """The id of every output of the head, in order.

    With `labels` these are the ids; without, a head of 1000 classes and folders named by wnid
    mean ImageNet; otherwise the sorted folder names, which must be as many as the head has.

    Args:
        data: what the images are called in an error.
        found: names of the class folders that hold images, or of all of them.
        num_classes: outputs of the head.
        labels: the model's class ids, if it has them.

    Raises:
        DataError: the folders are not classes of the model.
    """
    if labels is not None and len(labels) != num_classes:
        raise DataError(f"{len(labels)} labels for a model with {num_classes} classes")
    if labels is None and num_classes == IMAGENET_CLASSES and all(map(_WNID.fullmatch, found)):
        labels = zoo.imagenet_wnids()
    if labels is None:
        if len(found) != num_classes:
            raise DataError(
                f"{data} has {len(found)} classes, the model has {num_classes}",
                "Give the model's class ids with --labels to use images of some of its classes",
            )
        return tuple(sorted(found))
    unknown = sorted(set(found) - set(labels))
    if len(unknown) == len(set(found)):
        raise DataError(
            f"no class in common: {data} has {_some(unknown)}, the model {_some(labels)}",
            "Class folders are named by the model's class ids",
        )
    if unknown:
        raise DataError(
            f"{len(unknown)} of {len(found)} classes in {data} are unknown to the model: "
            f"{_some(unknown)}",
            "Images of other classes cannot be scored: remove them",
        )
    return tuple(labels)


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
