"""What a network and its images must be for a training to start."""

from __future__ import annotations

from edgenext.data import ImageSet
from edgenext.errors import DataError, OverlapError, UsageError
from edgenext.models import zoo
from edgenext.models.network import EdgeNeXt
from edgenext.train.hooks import TrainingImages
from edgenext.train.recipe import TrainRecipe


def arch_name(network: EdgeNeXt) -> str:
    """The name of a network's architecture."""
    return next(name for name in zoo.arch_table() if zoo.arch(name) == network.arch)


def require_trainable(
    network: EdgeNeXt, images: TrainingImages, val: ImageSet | None, recipe: TrainRecipe
) -> None:
    """Refuse what cannot be trained.

    Raises:
        UsageError: a backbone; images of different kinds; batches too small for batch norms.
        DataError: the images do not have the network's classes.
        OverlapError: images to train and to evaluate on are the same.
    """
    if network.features_only:
        raise UsageError("a backbone has no head: it cannot be trained as a classifier")
    for s in (images, val) if val else (images,):
        if len(s.classes) != network.num_classes:
            raise DataError(
                f"{s.info.data} is loaded for {len(s.classes)} classes, the network has "
                f"{network.num_classes}",
                "Create the network with the classes of the data",
            )
        zoo.check_size(s.transform.size, s.transform.size)
    if val and (val.transform != images.transform or val.classes != images.classes):
        raise UsageError("training and validation images differ in transform or classes")
    shared = set(images.hashes) & set(val.hashes if val else ())
    if val and shared:
        names = [n for n, h in zip(val.names, val.hashes, strict=True) if h in shared]
        raise OverlapError(
            f"{len(names)} of the {len(val)} validation images are also training images, for "
            f"example {' and '.join(names[:2])}",
            "Exclude them from training",
        )
    if network.arch.batch_norm and min(recipe.batch_size, len(images)) < 2:
        raise UsageError(
            f"{arch_name(network)} has batch norms, which cannot train on one image at a time",
            "Use a batch size of at least 2, and at least 2 images",
        )
    if recipe.early_stop and not val:
        raise UsageError("early_stop needs validation images")
