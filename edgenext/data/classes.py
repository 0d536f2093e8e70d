"""Class ids of a head's outputs, from the names of class folders."""

from __future__ import annotations

from collections.abc import Sequence

from edgenext.errors import DataError
from edgenext.models import zoo
from edgenext.models.labels import WNID, class_key, require_distinct


def class_ids(
    data: str, folders: Sequence[str], num_classes: int, labels: Sequence[str] | None
) -> tuple[str, ...]:
    """The class id of every output of the head, in order.

    These are `labels` where the model has them. Without labels, a head of 1000 classes and folders
    named by wnid mean ImageNet; otherwise the ids are the sorted names of the folders, of which
    there must be as many as outputs. No two classes may have the same name.

    Args:
        data: name of the data set in an error.
        folders: names of the class folders with images, or of all class folders.
        num_classes: outputs of the head.
        labels: the model's class ids, if it has them.

    Raises:
        DataError: the folders are not classes of the model, or a class is named twice.
    """
    require_distinct(folders, f"the class folders of {data}", "numbers", DataError)
    if labels is not None and len(labels) != num_classes:
        raise DataError(f"{len(labels)} labels for a model with {num_classes} classes")
    imagenet = num_classes == zoo.IMAGENET_CLASSES and all(map(WNID.fullmatch, folders))
    if labels is None and imagenet:
        labels = zoo.imagenet_wnids()
    if labels is None:
        if len(folders) != num_classes:
            raise DataError(
                f"{data} has {len(folders)} classes, the model has {num_classes}",
                "To use images of only some of its classes, give its class ids with --labels",
            )
        return tuple(sorted(folders))
    require_distinct(labels, "the model", "outputs", DataError)
    known = set(map(class_key, labels))
    unknown = sorted({folder for folder in folders if class_key(folder) not in known})
    if len(unknown) == len(set(folders)):
        raise DataError(
            f"no class in common: {data} has {_some(unknown)}, the model {_some(labels)}",
            "Name the class folders by the model's class ids",
        )
    if unknown:
        raise DataError(
            f"{len(unknown)} of {len(folders)} classes in {data} are unknown to the model: "
            f"{_some(unknown)}",
            "Remove these folders: their images cannot be scored",
        )
    return tuple(labels)


def class_index(classes: Sequence[str]) -> dict[str, int]:
    """The index of each class by the key of its name: see `class_key`."""
    return {class_key(name): i for i, name in enumerate(classes)}


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
