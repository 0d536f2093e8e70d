"""What a search measures of its candidates' accuracy: on all images, or until they decide it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from edgenext.commands.context import Context
from edgenext.commands.evaluate import logits_of
from edgenext.commands.inputs import DecisionInputs, EvaluateInputs, SequenceInputs
from edgenext.commands.sequence import ShardedLogits, Stopping, ordered, sequences
from edgenext.commands.stages import Stages, key
from edgenext.commands.subject import Subject
from edgenext.data import ImageSet
from edgenext.formats.artifact import Artifact
from edgenext.formats.isolated_session import open_isolated
from edgenext.formats.session import Logits
from edgenext.formats.session_pool import open_pool
from edgenext.metrics.accuracy import paired_comparison
from edgenext.schema import Comparison
from edgenext.system.files import atomic_path, write_text

SHARDS = "shards"
"""The folder of logits in a search's folder while it is not finished."""


@dataclass(frozen=True)
class SearchScores:
    """Comparisons of candidates with the float file, each made once in a search's folder.

    Without `stopping` they are on all images.
    """

    base: Artifact
    stages: Stages
    context: Context
    stopping: Stopping | None
    _base_rows: dict[str, ShardedLogits] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The search's."""
        return self.stages.folder

    def comparison(self, artifact: Artifact, images: ImageSet, part: str) -> Comparison:
        """A candidate against the float file.

        Args:
            artifact: the candidate.
            images: the part of the labelled images.
            part: its name.
        """
        if self.stopping:
            return self._until_decided(artifact, images, part, self.stopping)
        return paired_comparison(
            artifact.name,
            self._logits(self.base, images, part),
            self._logits(artifact, images, part),
            images.labels,
            sha256=artifact.manifest.sha256,
            scheme=artifact.manifest.scheme,
        )

    def finish(self) -> None:
        """Remove what only an interrupted search needs."""
        shutil.rmtree(self.folder / SHARDS, ignore_errors=True)

    def _until_decided(
        self, artifact: Artifact, images: ImageSet, part: str, stopping: Stopping
    ) -> Comparison:
        path = self.folder / "comparisons" / f"{artifact.name}-{part}.json"
        pair, names = (self.base, artifact), (self.base.name, artifact.name)
        subjects = [Subject(artifact=one) for one in pair]
        sequence = SequenceInputs.of(subjects, names, images, stopping.seed)

        def produce() -> list[Path]:
            comparison = self._sequential(artifact, ordered(images, stopping.seed), part, stopping)
            write_text(path, comparison.model_dump_json(indent=2) + "\n")
            return [path]

        inputs = DecisionInputs.of(sequence, stopping.budget)
        self.stages.stage(f"{part}: {artifact.name}", inputs, produce)
        return Comparison.model_validate_json(path.read_bytes())

    def _sequential(
        self, artifact: Artifact, images: ImageSet, part: str, stopping: Stopping
    ) -> Comparison:
        """A comparison on as many of the ordered images as decide the budget."""
        if part not in self._base_rows:
            self._base_rows[part] = self._sharded(self.base, images, stopping.seed)
        base = self._base_rows[part]
        other = base if artifact is self.base else self._sharded(artifact, images, stopping.seed)
        (pair,) = sequences(
            base, [other], images.labels, stopping.budget, self._progress(artifact, images)
        )
        comparison = paired_comparison(
            artifact.name,
            base.first(pair.n),
            other.first(pair.n),
            images.labels[: pair.n],
            sha256=artifact.manifest.sha256,
            scheme=artifact.manifest.scheme,
        )
        return pair.applied(comparison, images, stopping.seed)

    def _sharded(self, artifact: Artifact, images: ImageSet, seed: int) -> ShardedLogits:
        """A file's logits of ordered images; an interrupted search has some of them already."""
        subject = Subject(artifact=artifact)
        inputs = SequenceInputs.of([subject], [artifact.name], images, seed)
        folder = self.folder / SHARDS / key(inputs)[:16]
        opened = partial(open_pool, partial(open_isolated, artifact), len(images))
        return ShardedLogits(artifact.name, opened, images, folder)

    def _progress(self, artifact: Artifact, images: ImageSet) -> Callable[[int], None]:
        def look(n: int) -> None:
            self.context.progress(f"evaluating {artifact.name}", n, len(images))

        return look

    def _logits(self, artifact: Artifact, images: ImageSet, part: str) -> Logits:
        """An artifact's logits on images, measured now or before."""
        path = self.folder / "logits" / f"{artifact.name}-{part}.npy"
        stage = f"{part}: {artifact.name}"
        if stage in self.stages.seconds:  # of this search: the base is compared with many
            done: Logits = np.load(path, mmap_mode="r")
            return done

        def produce() -> list[Path]:
            session = open_pool(partial(open_isolated, artifact), len(images))
            values = logits_of(session, images, self.context.progress, artifact.name)
            with atomic_path(path) as temporary, temporary.open("wb") as f:
                np.save(f, values, allow_pickle=False)
            return [path]

        inputs = EvaluateInputs.of([Subject(artifact=artifact)], [artifact.name], images)
        values: Logits = np.load(self.stages.stage(stage, inputs, produce)[0], mmap_mode="r")
        return values
