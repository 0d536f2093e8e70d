"""Export a model to a float file that agrees with PyTorch."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgenext.commands.bench import bench
from edgenext.commands.context import Context
from edgenext.commands.images import sample_images
from edgenext.commands.subject import Subject
from edgenext.errors import UsageError
from edgenext.export.artifacts import export_graph
from edgenext.export.settings import ExportSettings, resolve
from edgenext.formats.artifact import Artifact
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import DEFAULT_FORMAT, EXPORT, MODEL, BenchOptions, ExportOptions
from edgenext.options import ModelOptions as ModelOptions
from edgenext.system.temporary import scratch_folder
from edgenext.targets.target import FORMS

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
    return export_checkpoint(context.checkpoint(model, model_options), settings, out, data, context)


def export_checkpoint(
    checkpoint: Checkpoint,
    settings: ExportSettings,
    out: Path,
    data: str | Path | None,
    context: Context,
) -> Artifact:
    """Export a checkpoint into a folder; see `export`."""
    images = np.asarray(sample_images(context, Subject(checkpoint=checkpoint), data).images)
    path = out / settings.file_name(f"{checkpoint.name}-{checkpoint.eval.size}")
    return export_graph(context.graph(checkpoint, settings), settings, path, images)


def tuned(
    model: str | None,
    export_options: ExportOptions,
    model_options: ModelOptions = MODEL,
    *,
    rounds: int = 10,
    context: Context | None = None,
) -> ExportOptions:
    """The same options with the form that is fastest on this machine.

    Args:
        model: as in `export`.
        export_options: of an ONNX file.
        model_options: where the weights come from.
        rounds: of the benchmark that decides.
        context: what was loaded before.

    Raises:
        UsageError: a format that does not run here on its own.

    >>> model = ModelOptions(random_weights=True, num_classes=10, size=32)
    >>> tuned("edgenext_xx_small", EXPORT, model, rounds=1).form in ("convT", "convC")
    True
    """
    if export_options.format != DEFAULT_FORMAT:
        raise UsageError(
            f"the form of {export_options.format} cannot be measured here", "Leave out --tune"
        )
    context = context or Context()
    forms = [form for form in FORMS if form != "naive"]
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
        report = bench(files, bench_options=BenchOptions(rounds=rounds), context=context)
    times = [result.p50_ms for result in report.results]
    fastest = forms[times.index(min(times))]
    measured = ", ".join(f"{form} {ms:.2f} ms" for form, ms in zip(forms, times, strict=True))
    _log.warning("%s: %s is taken", measured, fastest)
    return replace(export_options, form=fastest)
