"""Which answers the judged file changes, against the base on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import InputError
from edgenext.report.predictions import PREDICTIONS, RunPredictions
from edgenext.report.study import Entry, Study

Outcome = Literal["lost", "gained", "still wrong"]
"""Of a changed answer: right before and wrong now, the reverse, or wrong before and now."""
OUTCOMES: tuple[Outcome, ...] = ("lost", "gained", "still wrong")


@dataclass(frozen=True)
class ChangedAnswers:
    """The answers of the base (`before`) and the judged file (`after`) for N images.

    `labels`, `before` and `after` are N class indices, `margin` the base's N differences of its two
    best logits; `lost`, `gained` and `other` are N bool each, `other` wrong before and after.
    """

    labels: NDArray[np.int64]
    before: NDArray[np.int32]
    after: NDArray[np.int32]
    margin: NDArray[np.float64]

    @property
    def lost(self) -> NDArray[np.bool_]:
        """Right before, wrong now."""
        return np.asarray((self.before == self.labels) & (self.after != self.labels))

    @property
    def gained(self) -> NDArray[np.bool_]:
        """Wrong before, right now."""
        return np.asarray((self.before != self.labels) & (self.after == self.labels))

    @property
    def changed(self) -> NDArray[np.bool_]:
        """All changed answers."""
        return np.asarray(self.before != self.after)

    @property
    def other(self) -> NDArray[np.bool_]:
        """Another answer, wrong before and now."""
        return self.changed & ~self.lost & ~self.gained

    def outcome(self, index: int) -> Outcome:
        """Of a changed answer."""
        label = self.labels[index]
        if self.before[index] == label:
            return "lost"
        return "gained" if self.after[index] == label else "still wrong"

    def ordered(self) -> NDArray[np.int64]:
        """The images whose answer changed: lost, gained, still wrong, the surest of each first."""
        kinds = np.select([self.lost, self.gained], [0, 1], 2)
        order = np.lexsort((-self.margin, kinds))
        return np.asarray(order[self.changed[order]], np.int64)


def changed_answers(base: Entry, judged: Entry, predictions: RunPredictions) -> ChangedAnswers:
    """What the judged file answers, beside the base."""
    best = predictions.by_name[base.name]
    return ChangedAnswers(
        labels=predictions.labels,
        before=best.first,
        after=predictions.by_name[judged.name].first,
        margin=best.margin.astype(np.float64),
    )


def answers_of(
    study: Study, judged: Entry | None, predictions: RunPredictions | None
) -> ChangedAnswers | None:
    """The answers of the run's judged file; None if the run does not hold them.

    Raises:
        InputError: the predictions are not those of the run's comparison.
    """
    base = study.base
    if base is None or judged is None or predictions is None:
        return None
    if not {base.name, judged.name} <= predictions.by_name.keys():
        return None
    answers = changed_answers(base, judged, predictions)
    _require_same_counts(answers, judged, study)
    return answers


def _require_same_counts(answers: ChangedAnswers, judged: Entry, study: Study) -> None:
    """Refuse predictions of another run: a plot or list must not contradict the table."""
    if judged.comparison is None:
        return
    n, drop = study.summary.compare.n, judged.comparison.drop
    counts = (len(answers.margin), int(answers.lost.sum()), int(answers.gained.sum()))
    if counts != (n, drop.lost, drop.gained):
        raise InputError(
            f"{PREDICTIONS} does not belong to this run: for {judged.name} it gives "
            f"{counts[1]} lost and {counts[2]} gained of {counts[0]} images, the run {drop.lost} "
            f"and {drop.gained} of {n}",
            "Run `edgenext run` again, or delete it to write the report without it",
        )
