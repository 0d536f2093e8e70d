"""Which classes lose and gain most, counted on the same images before and after."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgenext.report.answers import ChangedAnswers
from edgenext.report.findings import Findings
from edgenext.report.text import NOTHING, count, enumerated, number, span, spreadsheet_text

TITLE = "Per class"
COLUMNS = ("Class", "Images", "Lost", "Gained", "Drop, points")
CLASSES = "classes.csv"
"""The file with all classes, beside the report."""
FEWEST = 20
"""Images of a class below which nothing is said of it: its counts are shown alone."""
SHOWN = 20
"""Classes in the table: those that lose most and those that gain most."""
NAMED = 5
"""Classes that a sentence names."""
LEVEL = 0.05
"""Probability of naming any class that does not change, over all classes together."""

ClassName = Callable[[int], str]


@dataclass(frozen=True)
class ClassCounts:
    """How many of a class's images were lost and gained."""

    index: int
    name: str
    n: int
    lost: int
    gained: int

    @property
    def net(self) -> int:
        """Images lost more than gained."""
        return self.lost - self.gained

    @property
    def has_enough(self) -> bool:
        """Whether there are enough images to say something of the class."""
        return self.n >= FEWEST


def class_counts(answers: ChangedAnswers, name_of: ClassName) -> list[ClassCounts]:
    """Every class that has images, in the order of its index."""
    labels = answers.labels
    most = int(labels.max()) + 1 if len(labels) else 0
    totals, lost, gained = (
        np.bincount(labels[mask], minlength=most)
        for mask in (np.ones(len(labels), bool), answers.lost, answers.gained)
    )
    return [
        ClassCounts(i, name_of(i), int(totals[i]), int(lost[i]), int(gained[i]))
        for i in np.flatnonzero(totals).tolist()
    ]


def beyond_chance(classes: Sequence[ClassCounts]) -> list[ClassCounts]:
    """The classes that change more than chance explains, the surest first.

    McNemar's exact test for each class with enough images, with Holm's correction for their number.
    """
    from edgenext.metrics.statistics import mcnemar_exact

    tested = [(mcnemar_exact(c.lost, c.gained), c) for c in classes if c.has_enough]
    tested.sort(key=lambda row: row[0])
    named = []
    for i, (p, row) in enumerate(tested):
        if p > LEVEL / (len(tested) - i):
            break
        named.append(row)
    return named


def class_table(classes: Sequence[ClassCounts]) -> Findings | None:
    """The section on classes; None if no answer was lost or gained."""
    moved = sorted((c for c in classes if c.lost or c.gained), key=lambda c: (-c.net, -c.lost))
    if not moved:
        return None
    shown = moved
    if len(moved) > SHOWN:
        shown = [*moved[: SHOWN // 2], *moved[-(SHOWN // 2) :]]
    more = f" Those that lose and gain most are shown, all of them are in `{CLASSES}`."
    return Findings(
        title=TITLE,
        columns=COLUMNS,
        about=(
            f"Of {count(len(classes), 'class', 'classes')}, {len(moved):,} lost or gained images."
            + (more if len(shown) < len(moved) else "")
        ),
        findings=tuple(_findings(classes)),
        rows=tuple(map(_row, shown)),
        note=(
            "Lost: the base is right and this file is wrong; gained: the reverse. The drop of a "
            f"class is 100 × (lost − gained) / images with Tango’s 95 % interval; with fewer than "
            f"{FEWEST} images there is no interval, and nothing is said of the class."
        ),
    )


def classes_csv(classes: Sequence[ClassCounts]) -> str:
    """All classes, a row each."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("index", "class", "n", "lost", "gained"))
    writer.writerows((c.index, spreadsheet_text(c.name), c.n, c.lost, c.gained) for c in classes)
    return stream.getvalue()


def _findings(classes: Sequence[ClassCounts]) -> list[str]:
    tested = sum(c.has_enough for c in classes)
    sentences = []
    if tested:
        test = (
            "McNemar’s exact test for each class, with Holm’s correction for "
            f"{count(tested, 'class', 'classes')}"
        )
        named = beyond_chance(classes)
        for verb, rows in (
            ("lose", [c for c in named if c.net > 0]),
            ("gain", [c for c in named if c.net < 0]),
        ):
            if rows:
                names = enumerated(
                    [f"{c.name} ({c.lost} lost, {c.gained} gained)" for c in rows[:NAMED]]
                )
                names += f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
                subject = "One class" if len(rows) == 1 else f"{len(rows)} classes"
                verb = f"{verb}s" if len(rows) == 1 else verb
                sentences.append(f"{subject} {verb} more than chance explains: {names} ({test}).")
        if not named:
            sentences.append(f"No class changes by more than chance explains ({test}).")
    if few := len(classes) - tested:
        have = "has" if few == 1 else "have"
        sentences.append(
            f"{count(few, 'class', 'classes')} {have} fewer than {FEWEST} images: too few to say "
            "anything."
        )
    return sentences


def _row(row: ClassCounts) -> tuple[str, ...]:
    drop = NOTHING
    if row.has_enough:
        from edgenext.metrics.statistics import tango_interval

        limits = tango_interval(row.lost, row.gained, row.n)
        drop = f"{number(100 * row.net / row.n, 1)} ({span(*limits, 1)})"
    return row.name, f"{row.n:,}", f"{row.lost:,}", f"{row.gained:,}", drop
