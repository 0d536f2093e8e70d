"""Running networks and artifacts over images: logits first, scores from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgenext.errors import DataError, UsageError
from edgenext.options import ModelOptions, QuantizeOptions
from edgenext.progress import Progress as Progress
from edgenext.progress import quiet as quiet

if TYPE_CHECKING:
    from edgenext.benchmark.accuracy import Judged
    from edgenext.data import ImageSet
    from edgenext.runtimes.base import Logits
    from edgenext.schema import CompareReport, EvalReport, Evidence
    from edgenext.subjects import Subject

SAMPLE_IMAGES = 16
"""Images an export is compared on."""


def images_for(
    subject: Subject,
    data: str | Path,
    role: Literal["train", "val"],
    *,
    limit: int | None = None,
    seed: int = 0,
    exclude: Sequence[str] = (),
    progress: Progress = quiet,
) -> ImageSet:
    """The images of a data set as a network or artifact sees them."""
    from edgenext.data import load_images

    num_classes, labels = subject.classes
    return load_images(
        data,
        subject.transform,
        role=role,
        num_classes=num_classes,
        labels=labels,
        limit=limit,
        seed=seed,
        exclude=exclude,
        progress=partial(progress, f"decoding {data}"),
    )


def calibration_images(
    subject: Subject, how: QuantizeOptions, progress: Progress = quiet
) -> ImageSet:
    """The images INT8 ranges are measured on. Any classes will do: no label is read."""
    from edgenext.data import count_classes, load_images

    return load_images(
        how.calib,
        subject.transform,
        role="train",
        num_classes=count_classes(how.calib, "train"),
        limit=how.n,
        seed=how.seed,
        exclude=how.exclude,
        progress=partial(progress, f"decoding {how.calib}"),
    )


def sample_set(subject: Subject, data: str | Path | None) -> ImageSet:
    """A few real images to compare an export on: of `data`, else the embedded digits."""
    from edgenext.data import digits, load_images

    if data is not None:
        return images_for(subject, data, "val", limit=SAMPLE_IMAGES)
    return load_images(
        digits.NAME,
        subject.transform,
        role="val",
        num_classes=digits.NUM_CLASSES,
        limit=SAMPLE_IMAGES,
    )


@dataclass(frozen=True)
class Outputs:
    """What one network or artifact gave for every image, N×K logits, and where it ran."""

    name: str
    subject: Subject
    logits: Logits
    runtime: str
    evidence: Evidence

    def judged(self) -> Judged:
        """The same by name and hash, as scores are made of it."""
        from edgenext.benchmark.accuracy import Judged

        subject = self.subject
        return Judged(
            self.name, self.logits, subject.sha256, subject.scheme, self.runtime, self.evidence
        )


@dataclass(frozen=True)
class Measured:
    """Several subjects on the same images, in the order given."""

    outputs: tuple[Outputs, ...]
    images: ImageSet


def measure(
    whats: Sequence[str],
    data: str | Path,
    options: ModelOptions,
    *,
    limit: int | None = None,
    seed: int = 0,
    targets: Sequence[str] = (),
    progress: Progress = quiet,
) -> Measured:
    """Run models and artifacts on a data set, each through its own runtime.

    Args:
        whats: models and artifacts.
        data: images with labels.
        options: of the models.
        limit: images at most, drawn from all classes.
        seed: of the drawing.
        targets: whose runtime each artifact must run in; its own where nothing is given.
        progress: called with what is being done.

    Raises:
        UsageError: no such target.
        ArtifactError: nothing here runs an artifact as its target would.
        OverlapError: an artifact was calibrated on some of the images.
    """
    from edgenext.artifact import distinct_names
    from edgenext.benchmark.accuracy import evaluate as run
    from edgenext.data import require_disjoint
    from edgenext.graph.targets import require_target
    from edgenext.subjects import open_subject

    for target in filter(None, targets):
        require_target(target)
    subjects = tuple(open_subject(w, options) for w in whats)
    names = tuple(
        distinct_names([s.artifact.path if s.artifact else Path(s.name) for s in subjects])
    )
    outputs: list[Outputs] = []
    images: ImageSet | None = None
    places = targets or [""] * len(subjects)
    for name, subject, place in zip(names, subjects, places, strict=True):
        if images is None or images.transform != subject.transform:
            found = images_for(subject, data, "val", limit=limit, seed=seed, progress=progress)
            if images is not None and found.hashes != images.hashes:
                raise DataError(f"{name} does not see the same images of {data} as {names[0]}")
            images = found
        require_disjoint(images, subject.calibration)
        session = subject.session(target=place)
        logits = run(session, images, partial(progress, f"evaluating {name}"))
        outputs.append(Outputs(name, subject, logits, session.runtime, session.evidence))
    if images is None:
        raise UsageError("nothing to evaluate", "Name a model or an artifact")
    return Measured(tuple(outputs), images)


def scores(measured: Measured) -> EvalReport:
    """Top-1, top-5 and loss of everything measured."""
    from edgenext.benchmark.accuracy import scores as judge

    return judge([out.judged() for out in measured.outputs], measured.images)


def comparison(measured: Measured) -> CompareReport:
    """Everything measured against the first: the paired drop."""
    from edgenext.benchmark.accuracy import comparison as judge

    base, *others = [out.judged() for out in measured.outputs]
    if not others:
        raise UsageError("one artifact alone cannot be compared", "Name the base, then the others")
    return judge(base, others, measured.images)
