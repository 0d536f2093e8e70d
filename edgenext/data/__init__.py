"""Image data sets: folders, zips and the embedded digits, decoded once and hashed."""

from edgenext.data.images import ImageSet, require_disjoint
from edgenext.data.loading import count_classes, load_images

__all__ = ["ImageSet", "count_classes", "load_images", "require_disjoint"]
