"""The classes that a network or artifact gives for single images."""

from __future__ import annotations

from edgenext.schema.base import Evidence, Record


class ClassScore(Record):
    """A class of one image: its index, its name (empty if none is known), its softmax."""

    index: int
    name: str = ""
    probability: float


class ImagePrediction(Record):
    """The best classes of one image, the most probable first."""

    image: str
    classes: tuple[ClassScore, ...]


class UnreadImage(Record):
    """A file that is not an image that can be used, and why."""

    image: str
    reason: str


class PredictReport(Record):
    """What one network or artifact says of each image."""

    artifact: str
    sha256: str
    scheme: str
    runtime: str
    evidence: Evidence
    images: tuple[ImagePrediction, ...]
    unread: tuple[UnreadImage, ...] = ()
