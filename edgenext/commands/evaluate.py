"""Run networks and artifacts over images and score them."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgenext.commands.context import Context
from edgenext.commands.images import labelled_images
from edgenext.commands.subject import Subject
from edgenext.data import ImageSet, require_disjoint
from edgenext.errors import DataError, UsageError
from edgenext.formats.artifact import distinct_names
from edgenext.formats.session import Logits, Session, logits
from edgenext.formats.session_pool import open_pool
from edgenext.metrics.accuracy import Predictions, eval_report
from edgenext.models.labels import class_key
from edgenext.options import MODEL, DataOptions, with_exif
from edgenext.options import ModelOptions as ModelOptions
from edgenext.schema import EvalReport
from edgenext.system.progress import Progress, quiet
from edgenext.system.reading import readable
from edgenext.system.scratch import stack_rows
from edgenext.targets.target import require_target


def evaluate(
    subjects: Sequence[str | Path],
    data: DataOptions | str | Path,
    model_options: ModelOptions = MODEL,
    *,
    target: str = "",
    context: Context | None = None,
) -> EvalReport:
    """Top-1, top-5 and loss of models and artifacts: see `edgenext eval`.

    Args:
        subjects: names of models, and artifacts.
        data: images with labels.
        model_options: where the models' weights come from.
        target: run artifacts in this target's runtime, not in their own; `htp` is simulated.
        context: what was loaded before.

    Raises:
        UsageError: no such model or target.
        ArtifactError: nothing here runs an artifact as the target would.
        OverlapError: an artifact was calibrated on some of the images.

    >>> model = ModelOptions(random_weights=True, num_classes=10, size=32)
    >>> report = evaluate(["edgenext_xx_small"], DataOptions("digits", limit=20), model)
    >>> [(result.artifact, result.n) for result in report.results]
    [('edgenext_xx_small', 20)]
    """
    context = context or Context()
    evaluation = evaluate_subjects(
        [context.subject(name, model_options) for name in subjects],
        DataOptions.of(data),
        context,
        targets=[target] * len(subjects),
    )
    return eval_report(evaluation.predictions, evaluation.images)


@dataclass(frozen=True)
class Evaluation:
    """What several subjects gave for the same images, in the order given."""

    predictions: tuple[Predictions, ...]
    images: ImageSet


def evaluate_subjects(
    subjects: Sequence[Subject],
    data: DataOptions,
    context: Context,
    *,
    targets: Sequence[str] = (),
) -> Evaluation:
    """Run models and artifacts on a data set, each through its own runtime.

    Args:
        subjects: models and artifacts.
        data: images with labels.
        context: what was loaded before.
        targets: whose runtime each artifact must run in; its own where nothing is given.

    Raises:
        UsageError: no such target, or nothing to evaluate.
        ArtifactError: nothing here runs an artifact as its target would, or a backbone.
        OverlapError: an artifact was calibrated on some of the images.
    """
    tasks = evaluation_tasks(subjects, data, context, targets=targets)
    with context.progress.steps(*evaluating_steps(subjects)):
        return _evaluated(tasks, context.progress)


@dataclass(frozen=True)
class EvaluationTask:
    """A model or artifact, what results call it, and the images as it sees them.

    `order` is that of its outputs by the first subject's classes; None where it is the same.
    """

    name: str
    subject: Subject
    images: ImageSet
    target: str
    order: list[int] | None = None

    def session(self) -> Session:
        """What computes its logits: several sessions at once, if there are many images."""
        if self.subject.artifact is None:
            return self.subject.session(target=self.target)
        opened = partial(self.subject.session, target=self.target)
        return open_pool(opened, len(self.images))

    def logits(self, session: Session, images: ImageSet, progress: Progress = quiet) -> Logits:
        """Its logits, N×K, for some of the images; see `logits_of`."""
        values = logits_of(session, images, progress, self.name)
        return values if self.order is None else values[:, self.order]

    def predictions(self, session: Session, values: Logits) -> Predictions:
        """What results record of its logits, N×K."""
        return Predictions(
            self.name,
            values,
            self.subject.sha256,
            self.subject.scheme,
            session.runtime,
            session.evidence,
            session.fallback,
        )


def evaluation_tasks(
    subjects: Sequence[Subject],
    data: DataOptions,
    context: Context,
    *,
    targets: Sequence[str] = (),
) -> Iterator[EvaluationTask]:
    """The images of a data set as each model or artifact sees them, all of them the same.

    Raises:
        UsageError: no such target, or nothing to evaluate.
        ArtifactError: a backbone.
        DataError: a subject does not see the same images as the first.
        OverlapError: an artifact was calibrated on some of the images.
    """
    for target in filter(None, targets):
        require_target(target)
    if not subjects:
        raise UsageError("nothing to evaluate", "Name a model or an artifact")
    for subject in subjects:
        subject.require_logits()
    names = _names(subjects)
    images = labelled_images(context, subjects[0], data)
    for name, subject, target in zip(names, subjects, targets or ["" for _ in names], strict=True):
        order = class_order((names[0], subjects[0]), (name, subject))
        if images.transform != with_exif(subject.transform, data.exif):
            others = labelled_images(context, subjects[0], data, transform=subject.transform)
            if others.hashes != images.hashes:
                raise DataError(f"{name} does not see the same images of {data.data} as {names[0]}")
            images = others
        require_disjoint(images, *subject.fitted_on)
        yield EvaluationTask(name, subject, images, target, order)


def evaluating_steps(subjects: Sequence[Subject]) -> tuple[str, ...]:
    """The tasks of evaluating subjects, in order."""
    return ("decoding *", *(f"evaluating {glob.escape(name)}" for name in _names(subjects)))


def _names(subjects: Sequence[Subject]) -> list[str]:
    """What results call the subjects."""
    return distinct_names([s.artifact.path if s.artifact else Path(s.name) for s in subjects])


def _evaluated(tasks: Iterable[EvaluationTask], progress: Progress) -> Evaluation:
    predictions = list[Predictions]()
    for task in tasks:
        progress(f"evaluating {task.name}", 0, len(task.images))
        session = task.session()
        values = task.logits(session, task.images, progress)
        predictions.append(task.predictions(session, values))
    return Evaluation(tuple(predictions), task.images)


def class_order(base: tuple[str, Subject], other: tuple[str, Subject]) -> list[int] | None:
    """The outputs of a network that are the classes of a base, in its order; None for all of them.

    Args:
        base: a name, and what has the classes that images are labelled with.
        other: the same of what is scored on these images.

    Raises:
        DataError: it lacks a class of the base.
    """
    (_, labels), (_, own) = base[1].classes, other[1].classes
    if labels is None or own is None or labels == own:
        return None
    positions = {class_key(label): i for i, label in enumerate(own)}
    keys = [class_key(label) for label in labels]
    lacking = [label for label, key in zip(labels, keys, strict=True) if key not in positions]
    if lacking:
        raise DataError(
            f"{other[0]} has no class {readable(lacking[0])!r}, which {base[0]} has",
            "Compare networks of the same classes; edgenext adopt FILE --labels names them",
        )
    return [positions[key] for key in keys]


def logits_of(
    session: Session, images: ImageSet, progress: Progress = quiet, name: str = ""
) -> Logits:
    """Logits of every image, N×K float32, in order; read-only, on disk if they are many.

    Args:
        session: what computes them.
        images: decoded images.
        progress: told of every batch.
        name: what progress calls the session.

    Raises:
        DataError: there are no images.
        RuntimeFailedError: the runtime refused a batch.
        OutputError: large logits cannot be written to the cache.
    """
    total = len(images.images)
    if total == 0:
        raise DataError(f"{images.info.data} has no images to evaluate on")

    def parts() -> Iterator[Logits]:
        done = 0
        for part in logits(session, images.images):
            yield part
            done += len(part)
            progress(f"evaluating {name}".strip(), done, total)

    return stack_rows(parts(), total)
