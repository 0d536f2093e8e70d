"""Image data sets: folders, zips and the embedded digits, decoded once and hashed."""

from edgenext.data.images import ImageSet, require_disjoint
from edgenext.data.loading import class_folders, count_classes, divide, load_images, load_photos
from edgenext.data.photos import PhotoSet

__all__ = [
    "ImageSet",
    "PhotoSet",
    "class_folders",
    "count_classes",
    "divide",
    "load_images",
    "load_photos",
    "require_disjoint",
]
