"""Export a model to a float file that agrees with PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgenext.benchmark.noise import measurably_fastest
from edgenext.commands.bench import bench
from edgenext.commands.context import LOADING, Context
from edgenext.commands.images import sample_images
from edgenext.commands.subject import Subject, of_kind
from edgenext.data import ImageSet
from edgenext.errors import UsageError
from edgenext.export.artifacts import export_graph, file_steps
from edgenext.export.settings import ExportSettings, resolve
from edgenext.formats.artifact import Artifact
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import (
    DEFAULT_FORMAT,
    DEFAULT_TARGET,
    EXPORT,
    MODEL,
    BenchOptions,
    ExportOptions,
)
from edgenext.options import ModelOptions as ModelOptions
from edgenext.schema import BenchReport
from edgenext.system.temporary import scratch_folder
from edgenext.targets.target import FORMS, form_for

_log = logging.getLogger(__name__)


def export(
    model: str | None = None,
    model_options: ModelOptions = MODEL,
    export_options: ExportOptions = EXPORT,
    *,
    out: Path = Path(),
    data: str | Path | None = None,
    context: Context | None = None,
) -> Artifact:
    """Export a model to a float file: see `edgenext export`.

    Args:
        model: name; None for `edgenext_small`, or the one that the weights fit.
        model_options: where the weights come from and how images are prepared.
        export_options: format of the file; form, batch, opset and input of its graph.
        out: folder of the file and its manifest.
        data: images to compare on; the embedded digits unless given.
        context: what was loaded before.

    Raises:
        UsageError: an unknown model or format, or an option that the format does not take.
        CheckpointError: weights that do not fit.
        ParityError: the file does not agree with PyTorch; nothing is written.
        MissingDependencyError: the format's converter or runtime is not installed.
        OutputError: the folder cannot be written.

    >>> model = ModelOptions(random_weights=True, num_classes=10, size=32)
    >>> artifact = export("edgenext_xx_small", model)
    >>> artifact.path
    PosixPath('edgenext_xx_small-32-fp32.onnx')
    >>> artifact.manifest.parity.agreement
    100.0
    """
    context = context or Context()
    settings = resolve(export_options)
    model_options = of_kind(model_options, export_options)
    with context.progress.steps(*LOADING, *file_steps(settings)):
        checkpoint = context.checkpoint(model, model_options)
        return export_checkpoint(checkpoint, settings, out, data, context)


def export_checkpoint(
    checkpoint: Checkpoint,
    settings: ExportSettings,
    out: Path,
    data: str | Path | None,
    context: Context,
) -> Artifact:
    """Export a checkpoint into a folder; see `export`."""
    samples = sample_images(context, Subject(checkpoint=checkpoint), data)
    return export_on(checkpoint, settings, samples, out, context)


def export_on(
    checkpoint: Checkpoint,
    settings: ExportSettings,
    samples: ImageSet,
    out: Path,
    context: Context,
) -> Artifact:
    """The same, compared with PyTorch on images that are loaded."""
    path = out / settings.file_name(f"{checkpoint.name}-{checkpoint.eval.size}")
    graph = context.graph(checkpoint, settings)
    images = np.asarray(samples.images)
    return export_graph(graph, settings, path, images, context.progress)


def tuned(
    model: str | None,
    model_options: ModelOptions = MODEL,
    export_options: ExportOptions = EXPORT,
    *,
    rounds: int = 30,
    context: Context | None = None,
) -> ExportOptions:
    """The same options with the form that is fastest on this machine.

    It is the target's own form, unless another is faster by more than the noise floor in a valid
    benchmark.

    Args:
        model: as in `export`.
        model_options: where the weights come from.
        export_options: of an ONNX file.
        rounds: of the benchmark that decides.
        context: what was loaded before.

    Raises:
        UsageError: a format that does not run here on its own.

    >>> model = ModelOptions(random_weights=True, num_classes=10, size=32)
    >>> tuned("edgenext_xx_small", model, rounds=1).form in ("convT", "convC")
    True
    """
    if export_options.format != DEFAULT_FORMAT:
        raise UsageError(
            f"the form of {export_options.format} cannot be measured here", "Leave out --tune"
        )
    context = context or Context()
    own = form_for(export_options.target or DEFAULT_TARGET)
    forms = [own, *(form for form in FORMS if form not in ("naive", own))]
    with scratch_folder() as folder:
        files = [
            export(
                model,
                model_options,
                replace(export_options, form=form),
                out=folder / form,
                context=context,
            ).path
            for form in forms
        ]
        options = BenchOptions(rounds=rounds)
        report = bench(files, bench_options=options, context=context)
    times = [result.p50_ms for result in report.results]
    measured = ", ".join(f"{form} {ms:.2f} ms" for form, ms in zip(forms, times, strict=True))
    fastest, reason = _fastest_form(forms, report)
    _log.warning("%s: %s is taken, %s", measured, fastest, reason)
    return replace(export_options, form=fastest)


def _fastest_form(forms: Sequence[str], report: BenchReport) -> tuple[str, str]:
    """The form to take of a benchmark of all forms, the target's own first, and the reason."""
    fastest = measurably_fastest(report)
    if fastest:
        speed = report.speeds[report.results[fastest].artifact].median
        return forms[fastest], f"{speed:.2f}x as fast as {forms[0]}"
    if all(ratio.valid for ratio in report.speeds.values()):
        return forms[0], "the target's own: no other is faster by more than the noise floor"
    return forms[0], "the target's own: the timings are not valid, so try again on a quiet machine"
