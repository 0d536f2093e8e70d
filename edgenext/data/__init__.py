"""Image data sets: folders, zips and the embedded digits, decoded once and hashed."""

from edgenext.data.images import ImageSet, require_disjoint
from edgenext.data.loading import class_folders, count_classes, divide, load_images

__all__ = [
    "ImageSet",
    "class_folders",
    "count_classes",
    "divide",
    "load_images",
    "require_disjoint",
]
