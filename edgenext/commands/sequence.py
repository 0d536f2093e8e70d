"""Evaluation that stops as soon as a budget is decided: images in a fixed order, shard by shard."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from edgenext.commands.context import Context
from edgenext.commands.evaluate import Evaluation, EvaluationTask, evaluation_tasks, logits_of
from edgenext.commands.sample_size import images_shortage
from edgenext.commands.subject import Subject
from edgenext.data import ImageSet
from edgenext.errors import DataError, InputError
from edgenext.formats.session import Logits, Session
from edgenext.metrics.accuracy import Labels, paired_comparison
from edgenext.metrics.sequence import (
    EVERYTHING,
    budget_outcome,
    narrowed,
    sequence_interval,
    sequence_p_value,
)
from edgenext.options import DataOptions, require_budget
from edgenext.schema import LOGITS, BudgetDecision, BudgetOutcome, CompareReport, Comparison, Drop
from edgenext.system.arrays import read_arrays, write_arrays
from edgenext.system.scratch import stack_rows
from edgenext.system.temporary import scratch_folder

SHARD = 64
"""Images between two looks: so many more than needed are evaluated at most."""
ORDER = 1
"""Beside the seed, what tells the order of images from other random choices with the same seed."""
MAX_SHARD_BYTES = 1 << 28
"""A shard of a million classes."""
TASK = "evaluating until decided"


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stopping:
    """When to stop: a budget in points, and the seed of the order of images."""

    budget: float
    seed: int = 0


def ordered(images: ImageSet, seed: int) -> ImageSet:
    """The images in the order in which a sequence uses them.

    Raises:
        DataError: there are none.
    """
    if len(images) == 0:
        raise DataError(f"{images.info.data} has no images to evaluate on")
    return images.take(np.random.default_rng([seed, ORDER]).permutation(len(images)))


@dataclass(frozen=True)
class ShardedLogits:
    """Logits of images in their order, computed when they are needed, and kept in a folder.

    `logits` gives those of some images by a session.
    """

    name: str
    open_session: Callable[[], Session]
    images: ImageSet
    folder: Path
    logits: Callable[[Session, ImageSet], Logits] = logits_of

    @cached_property
    def session(self) -> Session:
        """What computes them, loaded once."""
        return self.open_session()

    def shard(self, number: int) -> Logits:
        """Up to `SHARD` rows of K float32; a file that is damaged is made again."""
        start = number * SHARD
        part = self.images.take(range(start, min(start + SHARD, len(self.images))))
        path = self.folder / f"{number:06d}.npz"
        values = _read(path, len(part))
        if values is None:
            values = self.logits(self.session, part)
            write_arrays(path, {LOGITS: values})
        return values

    def first(self, n: int) -> Logits:
        """The first n rows, which are whole shards or all images."""
        return stack_rows((self.shard(i) for i in range(-(-n // SHARD))), n)


def _read(path: Path, rows: int) -> Logits | None:
    """The logits of a shard; None where there is no such file, or it is damaged."""
    try:
        values = read_arrays(path, limit=MAX_SHARD_BYTES).get(LOGITS)
    except InputError:
        return None
    if values is None or values.ndim != 2 or len(values) != rows or values.dtype != np.float32:
        return None
    return values


@dataclass
class PairedSequence:
    """What is known of one file against the base after the latest look."""

    budget: float
    n: int = 0
    lost: int = 0
    gained: int = 0
    interval: tuple[float, float] = EVERYTHING
    decided_after: int | None = None

    def add(self, drop: Drop, images: int) -> None:
        """Take in the next shard of so many images."""
        self.n += images
        self.lost += drop.lost
        self.gained += drop.gained
        latest = sequence_interval(self.lost, self.gained, self.n)
        self.interval = narrowed(self.interval, latest)
        if self.decided_after is None and self.outcome != "undecided":
            self.decided_after = self.n

    @property
    def outcome(self) -> BudgetOutcome:
        """On which side of the budget the interval is."""
        return budget_outcome(self.interval, self.budget)

    def decision(self, images: ImageSet, seed: int) -> BudgetDecision:
        """The record of it.

        Args:
            images: all, in the order of the sequence.
            seed: of the order.
        """
        return BudgetDecision(
            budget=self.budget,
            outcome=self.outcome,
            n=self.decided_after or self.n,
            available=len(images),
            seed=seed,
            shard=SHARD,
            order_sha256=hashlib.sha256("\n".join(images.hashes).encode()).hexdigest(),
        )

    def applied(self, comparison: Comparison, images: ImageSet, seed: int) -> Comparison:
        """A comparison on the images used, with the limits and p-value of the sequence."""
        p_value = sequence_p_value(self.lost, self.gained, self.n)
        update = {"ci95": self.interval, "p_value": p_value, "interval": "sequence"}
        drop = comparison.drop.model_copy(update=update)
        decision = self.decision(images, seed)
        return comparison.model_copy(update={"drop": drop, "decision": decision})


def sequences(
    base: ShardedLogits,
    others: Sequence[ShardedLogits],
    labels: Labels,
    budget: float,
    look: Callable[[int], None],
) -> list[PairedSequence]:
    """Evaluate until every other file is decided, or all images are used.

    Args:
        base: what the others are compared with.
        others: on the same images, in the same order.
        labels: of all images, in that order.
        budget: points of top-1.
        look: told of the number of images after each look.
    """
    pairs = [PairedSequence(budget) for _ in others]
    for number, start in enumerate(range(0, len(labels), SHARD)):
        own = labels[start : start + SHARD]
        reference = base.shard(number)
        for other, pair in zip(others, pairs, strict=True):
            values = other.shard(number)
            comparison = paired_comparison(other.name, reference, values, own, base_name=base.name)
            pair.add(comparison.drop, len(own))
        look(start + len(own))
        if all(pair.decided_after is not None for pair in pairs):
            break
    return pairs


@dataclass(frozen=True)
class SequentialEvaluation:
    """What subjects gave for the images that were used, and what that decided of each."""

    evaluation: Evaluation
    pairs: tuple[PairedSequence, ...]
    images: ImageSet
    stopping: Stopping

    def applied(self, report: CompareReport) -> CompareReport:
        """A comparison of the evaluation with the limits of the sequences."""
        others = (
            pair.applied(other, self.images, self.stopping.seed)
            for other, pair in zip(report.others, self.pairs, strict=True)
        )
        return report.model_copy(update={"others": tuple(others)})


def evaluate_until_decided(
    subjects: Sequence[Subject],
    data: DataOptions,
    context: Context,
    stopping: Stopping,
    *,
    targets: Sequence[str] = (),
    folder: Path | None = None,
) -> SequentialEvaluation:
    """Run models and artifacts on images until the drop of each from the first is decided.

    Args:
        subjects: the base, then the others.
        data: images with labels.
        context: what was loaded before.
        stopping: the budget, and the seed of the order.
        targets: whose runtime each artifact must run in; its own where nothing is given.
        folder: where logits are kept from shard to shard: with the same folder an interrupted
            evaluation goes on. It is for these subjects, images and seed alone.

    Raises:
        UsageError: no such target, nothing to evaluate, or a budget outside 0 to 100.
        ArtifactError: nothing here runs an artifact as its target would, or a backbone.
        OverlapError: an artifact was calibrated on some of the images.
    """
    require_budget(stopping.budget)
    place = nullcontext(folder) if folder else scratch_folder()
    with context.progress.steps("decoding *", TASK), place as root:
        tasks = list(evaluation_tasks(subjects, data, context, targets=targets))
        images = ordered(tasks[0].images, stopping.seed)
        have = f"{images.info.data}: {len(images):,} images"
        if warning := images_shortage(
            have, len(images), stopping.budget, interval=sequence_interval
        ):
            _log.warning("%s", warning)
        rows = list(_sharded(tasks, root, stopping.seed))
        pairs = sequences(
            rows[0],
            rows[1:],
            images.labels,
            stopping.budget,
            lambda n: context.progress(TASK, n, len(images)),
        )
        n = pairs[0].n if pairs else len(images)
        predictions = (
            task.predictions(row.session, row.first(n))
            for task, row in zip(tasks, rows, strict=True)
        )
        evaluation = Evaluation(tuple(predictions), images.take(range(n)))
        return SequentialEvaluation(evaluation, tuple(pairs), images, stopping)


def _sharded(tasks: Sequence[EvaluationTask], root: Path, seed: int) -> Iterator[ShardedLogits]:
    for number, task in enumerate(tasks):
        images = ordered(task.images, seed)
        folder = root / f"{number:02d}"
        yield ShardedLogits(task.name, task.session, images, folder, task.logits)
