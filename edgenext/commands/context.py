"""What one piece of work has loaded: checkpoints, data, images and graphs, each of them once."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from edgenext.commands.subject import Subject, load, open_subject
from edgenext.data import (
    ImageSet,
    PhotoSet,
    class_folders,
    count_classes,
    digits,
    divide,
    load_images,
    load_photos,
)
from edgenext.data.files import UnreadableError
from edgenext.data.loading import images_by_folder, open_indexed
from edgenext.data.sources import IndexedSource
from edgenext.data.unread import side_of
from edgenext.options import DEFAULT_OPSET, DataOptions, ModelOptions
from edgenext.schema import Division, EvalTransform
from edgenext.system.progress import Progress, StepProgress, quiet

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from edgenext.export.deployment_graph import Graph
    from edgenext.export.settings import ExportSettings
    from edgenext.models.checkpoint import Checkpoint

Role = Literal["train", "val"]

LOADING = ("loading weights", "decoding *", "building the graph")
"""The first steps of whatever makes a file."""

_log = logging.getLogger(__name__)


class Context:
    """Everything that is loaded is kept, so that commands which share a context share it.

    A context is for one piece of work: files that change while it lives are not read again.

    Args:
        progress: told how far work is.
    """

    def __init__(self, progress: Progress = quiet) -> None:
        self.progress = progress if isinstance(progress, StepProgress) else StepProgress(progress)
        self._checkpoints: dict[tuple[str | None, ModelOptions], Checkpoint] = {}
        self._sources: dict[tuple[str, str], IndexedSource] = {}
        self._images: dict[Hashable, ImageSet] = {}
        self._notes: set[str] = set()
        self._graphs: dict[Hashable, Graph] = {}

    def checkpoint(self, model: str | None, options: ModelOptions) -> Checkpoint:
        """The checkpoint that a model's name and options mean; see `subject.load`."""
        key = (model, options)
        if key not in self._checkpoints:
            self.progress("loading weights", 0, 0)
            self._checkpoints[key] = load(model, options)
        return self._checkpoints[key]

    def subject(self, name: str | Path | None, options: ModelOptions) -> Subject:
        """An artifact, or the model of a name; see `subject.open_subject`."""
        text = None if name is None else str(name)
        artifact = open_subject(text) if text else None
        if artifact is None:
            return Subject(checkpoint=self.checkpoint(text, options))
        return artifact.with_exif(options.exif)

    def images(
        self,
        data: DataOptions,
        transform: EvalTransform,
        role: Role,
        *,
        num_classes: int,
        labels: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
    ) -> ImageSet:
        """Decoded images; see `data.load_images`."""
        names = None if labels is None else tuple(labels)
        key = (data, transform, role, num_classes, names, tuple(exclude))
        if key not in self._images:
            self._images[key] = load_images(
                data.data,
                transform,
                role=role,
                num_classes=num_classes,
                labels=labels,
                limit=data.limit,
                up_to=data.up_to,
                seed=data.seed,
                division=data.division,
                exclude=exclude,
                source=self._source(data.data, role),
                progress=self.progress,
            )
            self.note(side_of(self._images[key].info))
        return self._images[key]

    def photos(
        self,
        data: DataOptions,
        transform: EvalTransform,
        *,
        num_classes: int,
        labels: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
    ) -> PhotoSet:
        """Images to train on that are decoded when they are used; see `data.load_photos`."""
        self.progress(f"reading {data.data}", 0, 0)
        return load_photos(
            data.data,
            transform,
            num_classes=num_classes,
            labels=labels,
            division=data.division,
            exclude=exclude,
            source=self._source(data.data, "train"),
        )

    def note(self, text: str) -> None:
        """Say something of the data; the same is said once."""
        if text and text not in self._notes:
            self._notes.add(text)
            _log.warning("%s", text)

    def count_classes(self, data: str | Path, role: Role) -> int:
        """How many classes a data set has."""
        return count_classes(data, role, self._source(data, role))

    def count_images(self, data: str | Path, role: Role) -> int:
        """How many files of a data set's part are images."""
        return sum(len(images) for images in self._by_folder(data, role).values())

    def empty_classes(self, data: str | Path, role: Role) -> list[str]:
        """The class folders without an image."""
        return [name for name, images in self._by_folder(data, role).items() if not images]

    def _by_folder(self, data: str | Path, role: Role) -> dict[str, list[str]]:
        return images_by_folder(data, role, self._source(data, role))

    def class_folders(self, data: str | Path, role: Role) -> tuple[str, ...]:
        """The names of a data set's class folders."""
        return class_folders(data, role, self._source(data, role))

    def division(self, data: str | Path, seed: int, share: float) -> Division | None:
        """How to divide data without split folders; None for data that has them."""
        return divide(data, seed, share, self._source(data, "val"))

    def content_hashes(self, data: str | Path, role: Role) -> set[str]:
        """The content hash of every image of a data set that can be read."""
        source, hashes = self._source(data, role), set()
        for path in source.images(""):
            with contextlib.suppress(UnreadableError):
                hashes.add(source.content_hash(path))
        return hashes

    def graph(self, checkpoint: Checkpoint, settings: ExportSettings) -> Graph:
        """The float graph of a checkpoint, for the settings' target; it is not to be changed."""
        from edgenext.export.deployment_graph import graph_of

        key = (
            id(checkpoint),  # kept alive by its graph
            settings.form,
            settings.batch,
            DEFAULT_OPSET if settings.opset is None else settings.opset,
            settings.pixels,
            settings.features_only,
        )
        if key not in self._graphs:
            self.progress("building the graph", 0, 0)
            self._graphs[key] = graph_of(checkpoint, settings)
        return replace(self._graphs[key], target=settings.target)

    def _source(self, data: str | Path, role: Role) -> IndexedSource:
        """The data, opened; the embedded digits are another source for each role."""
        key = (str(data), role if str(data) == digits.NAME else "")
        if key not in self._sources:
            self._sources[key] = open_indexed(data, role)
        return self._sources[key]
