"""The paired accuracy drop of models and artifacts against a base."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgenext.commands.context import Context
from edgenext.commands.evaluate import Evaluation, evaluate_subjects
from edgenext.commands.sequence import Stopping, evaluate_until_decided
from edgenext.errors import UsageError
from edgenext.metrics.accuracy import compare_report
from edgenext.options import MODEL, DataOptions
from edgenext.options import ModelOptions as ModelOptions
from edgenext.schema import CompareReport


def compare(
    base: str | Path,
    others: Sequence[str | Path],
    data: DataOptions | str | Path,
    model_options: ModelOptions = MODEL,
    *,
    max_drop: float | None = None,
    target: str = "",
    context: Context | None = None,
) -> CompareReport:
    """The paired drop of others against a base: see `edgenext compare`.

    Args:
        base: a model's name or an artifact.
        others: what is compared with it, on the same images.
        data: images with labels.
        model_options: where the models' weights come from.
        max_drop: points of top-1; images are evaluated only until it is decided of every other
            whether it stays under them. All are without it.
        target: run the other artifacts in this target's runtime; the base runs in its own.
        context: what was loaded before.

    Raises:
        UsageError: no such model or target, nothing to compare, or `max_drop` outside 0 to 100.
        ArtifactError: nothing here runs an artifact as the target would.
        OverlapError: an artifact was calibrated on some of the images.

    >>> files = ["edgenext_xx_small-32-fp32.onnx", "edgenext_xx_small-32-w8a8-static.onnx"]
    >>> report = compare(files[0], files[1:], DataOptions("digits", limit=20))
    >>> report.n, report.others[0].drop.lost >= 0
    (20, True)
    """
    context = context or Context()
    subjects = [context.subject(name, model_options) for name in (base, *others)]
    options, targets = DataOptions.of(data), ["", *[target] * len(others)]
    if max_drop is None:
        return compared(evaluate_subjects(subjects, options, context, targets=targets))
    stopping = Stopping(max_drop, options.seed)
    result = evaluate_until_decided(subjects, options, context, stopping, targets=targets)
    return result.applied(compared(result.evaluation))


def compared(evaluation: Evaluation) -> CompareReport:
    """Everything that was evaluated against the first of it."""
    base, *others = evaluation.predictions
    if not others:
        raise UsageError("one artifact alone cannot be compared", "Name the base, then the others")
    return compare_report(base, others, evaluation.images)
