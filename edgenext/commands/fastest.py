"""The fastest file for this machine's CPU: `--target auto` of `export` and `quantize`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from edgenext.benchmark.noise import floor_of, measurably_fastest
from edgenext.benchmark.retry import quietest
from edgenext.commands.bench import bench
from edgenext.commands.candidates import CpuTargets, cpu_targets, quantize_candidates
from edgenext.commands.context import Context
from edgenext.commands.export import export_on
from edgenext.commands.images import sample_images
from edgenext.commands.quantize import QuantizeSettings, quantize_subject
from edgenext.commands.subject import Subject, of_kind
from edgenext.errors import UsageError
from edgenext.export.settings import ExportSettings, float_settings
from edgenext.formats.artifact import Artifact, copy_artifact, open_artifact
from edgenext.options import (
    AUTO,
    BENCH,
    DEFAULT_FORMAT,
    EXPORT,
    MODEL,
    BenchOptions,
    ExportOptions,
    ModelOptions,
    QuantizeOptions,
)
from edgenext.schema import BenchReport, FastestReport, TimedFile
from edgenext.system.files import publish, staging
from edgenext.system.temporary import scratch_folder
from edgenext.system.turns import in_turns
from edgenext.targets.target import TARGETS

Maker = Callable[[Path], Artifact]
"""Makes a file in a folder."""


def fastest(
    subject: str | Path | None,
    quantize_options: QuantizeOptions | None = None,
    model_options: ModelOptions = MODEL,
    export_options: ExportOptions = EXPORT,
    *,
    bench_options: BenchOptions = BENCH,
    out: Path = Path(),
    data: str | Path | None = None,
    context: Context | None = None,
) -> FastestReport:
    """Make a file for every target of this CPU, measure all and keep the fastest.

    It is the first, that of onnxruntime, unless another is faster by more than the noise floor in
    a valid benchmark. Targets whose converter or runtime is not installed are left out.

    Args:
        subject: a model's name or a float artifact; None for the model that the weights fit.
        quantize_options: how the files are quantized; None for FP32.
        model_options: where the weights come from and how images are prepared.
        export_options: batch and input of the graphs.
        bench_options: threads and rounds of the benchmark.
        out: folder of the fastest file.
        data: images to compare float files with PyTorch on; the embedded digits unless given.
        context: what was loaded before.

    Raises:
        UsageError: a format or recipe, which follow from the target; a scheme that none runs.
        EdgenextError: whatever making a file raises; nothing is written then.

    >>> fastest("edgenext_xx_small", export_options=ExportOptions(format="tflite"))
    Traceback (most recent call last):
    edgenext.errors.UsageError: --target auto chooses the format and the form. Leave out ...
    """
    context = context or Context()
    if export_options.format != DEFAULT_FORMAT or export_options.form:
        raise UsageError(
            f"--target {AUTO} chooses the format and the form", "Leave out --format and --no-fold"
        )
    model_options = of_kind(model_options, export_options)
    opened, targets = context.subject(subject, model_options), cpu_targets()
    if quantize_options:
        candidates = quantize_candidates(quantize_options, targets, export_options, casts=False)
        makers = _quantizers(opened, candidates.values(), context)
    else:
        settings = [float_settings(target, export_options) for target in targets.usable]
        makers = _exporters(opened, settings, data, context)
    with scratch_folder() as folder:

        def made(i: int, name: str) -> Artifact:
            context.progress(f"file of {name}", i, len(makers))
            return makers[name](folder / str(i))

        files = list(in_turns([partial(made, i, name) for i, name in enumerate(makers)]))
        paths = [file.path for file in files]
        report = quietest(lambda: bench(paths, bench_options=bench_options, context=context))
        return _report(files, report, targets, out)


def _exporters(
    subject: Subject,
    candidates: Iterable[ExportSettings],
    data: str | Path | None,
    context: Context,
) -> dict[str, Maker]:
    checkpoint = subject.checkpoint
    assert checkpoint is not None  # noqa: S101 - a float file is exported from a model
    samples = sample_images(context, subject, data)

    def maker(settings: ExportSettings) -> Maker:
        return lambda folder: export_on(checkpoint, settings, samples, folder, context)

    return {settings.target: maker(settings) for settings in candidates}


def _quantizers(
    subject: Subject, candidates: Iterable[QuantizeSettings], context: Context
) -> dict[str, Maker]:
    def maker(settings: QuantizeSettings) -> Maker:
        return lambda folder: quantize_subject(subject, settings, folder, context)

    return {settings.recipe.target: maker(settings) for settings in candidates}


def _kept(artifact: Artifact, out: Path) -> Artifact:
    """A copy of an artifact with all its files in the folder that was asked for."""
    path = out / artifact.path.name
    with staging(path) as staged:
        copy_artifact(artifact, staged)
        publish(staged)
    return replace(open_artifact(path), timed=artifact.timed)


def _report(
    files: Sequence[Artifact], report: BenchReport, targets: CpuTargets, out: Path
) -> FastestReport:
    """Keep the fastest file, and say how it compares with the others."""
    rows = []
    for file, result in zip(files, report.results, strict=True):
        ratio = report.speeds.get(result.artifact)
        rows.append(
            TimedFile(
                file=file.path.name,
                target=file.manifest.target,
                scheme=file.manifest.scheme,
                p50_ms=result.p50_ms,
                speed=ratio.median if ratio else 1.0,
                speed_ci95=ratio.ci95 if ratio else None,
                valid=result.valid,
            )
        )
    fastest = measurably_fastest(report)
    return FastestReport(
        chosen=_kept(files[fastest], out).result(),
        files=tuple(rows),
        missing=targets.missing,
        environment=report.environment,
        noise_floor=floor_of(report),
        sentence=_sentence(rows[fastest], rows),
    )


def _sentence(best: TimedFile, rows: Sequence[TimedFile]) -> str:
    """Which file is the fastest, or why the first is kept."""
    name = f"{TARGETS[best.target].about} is the fastest here"
    if best is not rows[0]:
        return f"{name}: {best.speed:.2f}x as fast as {rows[0].target}"
    if all(row.valid for row in rows):
        return f"{best.target} is kept: no other is faster by more than the noise floor"
    return f"{best.target} is kept: the timings are not valid, so try again on a quiet machine"
