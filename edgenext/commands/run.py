"""The whole chain, checkpoint to report: stages keyed by their inputs, so nothing is done twice."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from edgenext.benchmark.measured_here import remember
from edgenext.benchmark.retry import noisy, quietest
from edgenext.commands.bench import bench
from edgenext.commands.candidates import named_after_format
from edgenext.commands.config import RunConfig
from edgenext.commands.context import Context
from edgenext.commands.export import export_on
from edgenext.commands.images import sample_images
from edgenext.commands.inputs import (
    BenchmarkInputs,
    ExportInputs,
    QuantizeInputs,
    ReportInputs,
)
from edgenext.commands.quantize import (
    QuantizeSettings,
    qat_training,
    quantize_subject,
    settings_images,
)
from edgenext.commands.report import REPORT_FILES, REPORT_STAGE, report
from edgenext.commands.run_evaluation import evaluate_files
from edgenext.commands.run_plan import RunPlan, export_stages, planned_run
from edgenext.commands.run_twin import quantize_twin
from edgenext.commands.stages import Announce, silent
from edgenext.export.settings import ExportSettings, float_settings, resolve
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.options import (
    DEFAULT_FORMAT,
    DEFAULT_TARGET,
    ENGINE,
    BenchOptions,
    ExportOptions,
)
from edgenext.report.details import TABLES
from edgenext.report.load import SUMMARY
from edgenext.schema import (
    TIMED,
    BenchReport,
    CompareReport,
    EvalReport,
    ExportResult,
    Record,
    RunSummary,
    TwinReport,
)
from edgenext.system.files import write_text
from edgenext.system.names import without_paths
from edgenext.system.sums import write_sums
from edgenext.system.turns import in_turns
from edgenext.targets.target import require_target

_log = logging.getLogger(__name__)


def run(
    config: RunConfig,
    *,
    measure_again: bool = False,
    announce: Announce = silent,
    command: str = "",
    context: Context | None = None,
) -> list[Path]:
    """Checkpoint to report: train if asked, export, quantize, evaluate, benchmark, report.

    Stopped, it goes on where it was: a stage whose inputs have not changed is not done again.

    Args:
        config: what to do; see `make_config` and `read_config`.
        measure_again: repeat the benchmark, also one that is unchanged.
        announce: told the name of each stage, and whether it is done now or was already.
        command: recorded in the report.
        context: what was loaded before.

    Returns:
        The report's files.

    Raises:
        UsageError: a target, scheme or baseline that does not exist or does not go together.
        OutputError: another process works in the folder, or it holds another network's work.
        EdgenextError: whatever a stage raises; stages that are done stay done.

    >>> from edgenext.commands.config import make_config
    >>> settings = {"model": "edgenext_xx_small", "data": "digits", "size": 32, "limit": 40}
    >>> settings |= {"random_weights": True, "num_classes": 10, "baselines": [], "out": "run"}
    >>> settings |= {"quantize": {"scheme": "w8-weight-only"}, "bench": {"rounds": 1}}
    >>> [path.name for path in run(make_config(settings))]
    ['report.html', 'report.md', 'report.json']
    """
    with planned_run(config, context or Context(), announce) as plan:
        if measure_again:
            plan.stages.forget("benchmark")
        floats = _export_float(plan)
        quantized = _quantize(plan)
        artifacts = [*floats, *quantized.values()]
        accuracy, drops = evaluate_files(plan, artifacts)
        latency = _benchmark(plan, artifacts, accuracy, announce)
        twin = quantize_twin(plan, floats[0], quantized)
        summary = _summary(plan, artifacts, accuracy, drops, latency, twin, command)
        _write(config.out / SUMMARY, summary)
        if noisy(latency):
            _log.warning(
                "the machine was not quiet: --measure-again repeats the benchmark, nothing else"
            )
        files = _report(plan)
        write_sums(config.out, [*plan.stages.paths, config.out / SUMMARY])
        return files[:REPORT_FILES]


def _report(plan: RunPlan) -> list[Path]:
    """The report, written again if anything that it shows has changed."""
    config, folder = plan.config, plan.config.out

    def produce() -> list[Path]:
        files = report(folder, max_drop=config.budget, data=config.data)
        return [*files, *(path for name in TABLES if (path := folder / name).is_file())]

    return plan.stages.stage(REPORT_STAGE, ReportInputs.of(folder, config.budget), produce)


def _export_float(plan: RunPlan) -> list[Path]:
    """The float files: the plain one, which is the base of all figures, and the target's own."""
    folder = plan.config.out / "artifacts"
    samples = sample_images(plan.context, plan.subject, plan.config.data)

    def export_stage(stage: str, settings: ExportSettings) -> Path:
        def produce() -> list[Path]:
            return export_on(plan.checkpoint, settings, samples, folder, plan.context).files

        inputs = ExportInputs.of(plan.checkpoint, settings, samples)
        return plan.stages.stage(stage, inputs, produce)[0]

    settings = _float_settings(plan.own_targets)
    return list(in_turns([partial(export_stage, *pair) for pair in settings.items()]))


def _float_settings(targets: Sequence[str]) -> dict[str, ExportSettings]:
    """The float files by their stages. The plain one is ONNX, whatever the targets' own formats."""
    of_onnx = len(targets) == 1 and require_target(targets[0]).format == DEFAULT_FORMAT
    plain = targets[0] if of_onnx else DEFAULT_TARGET
    settings = {"export plain": resolve(ExportOptions(form="naive", target=plain))}
    for stage, target in zip(export_stages(targets), targets, strict=True):
        own = float_settings(target)
        settings[stage] = own if len(targets) == 1 else named_after_format(own)
    return settings


def _quantize(plan: RunPlan) -> dict[str, Path]:
    """The quantized file of each engine."""
    subject, folder = plan.subject, plan.config.out / "artifacts"

    def quantize_stage(engine: str, settings: QuantizeSettings) -> Path:
        images = settings_images(plan.context, subject, settings)
        training = qat_training(plan.context, subject, settings)
        inputs = QuantizeInputs.of(subject, settings, images, settings.recipe, training)

        def produce() -> list[Path]:
            return quantize_subject(subject, settings, folder, plan.context).files

        return plan.stages.stage(f"quantize, {engine}", inputs, produce)[0]

    works = [partial(quantize_stage, *pair) for pair in plan.settings.items()]
    return dict(zip(plan.settings, in_turns(works), strict=True))


def _benchmark(
    plan: RunPlan, artifacts: Sequence[Path], accuracy: EvalReport, announce: Announce
) -> BenchReport:
    """Latency; measured again, a few times at most, while the machine is not quiet."""
    stage, timing = plan.config.bench, plan.timing
    timed = _timed(plan, list(map(open_artifact, artifacts)), accuracy)
    paths = [artifact.path for artifact in timed]
    options = BenchOptions(**stage.model_dump(exclude={"device"}), unit=timing.unit)

    def produce() -> list[Path]:
        latency = quietest(
            partial(bench, paths, timing.name, bench_options=options, context=plan.context),
            before_retry=lambda: announce("benchmark again: the machine was not quiet", True),
        )
        return [_write(plan.config.out / "bench.json", latency)]

    (path,) = plan.stages.stage("benchmark", BenchmarkInputs.of(timed, options, timing), produce)
    latency = BenchReport.model_validate_json(path.read_bytes())
    if timing.device is None and timed[0].manifest.target == DEFAULT_TARGET:
        own = {a.name: a.manifest.target for a in timed if a.manifest.engine == ENGINE}
        remember(latency, own)
    return latency


def _timed(plan: RunPlan, files: Sequence[Artifact], accuracy: EvalReport) -> list[Artifact]:
    """The files that the machine or device runs which times them, the base first."""
    if plan.timing.device is None:  # what only an interpreter runs here has no latency
        pairs = zip(files, accuracy.results, strict=False)
        return [file for file, result in pairs if result.evidence in TIMED]
    if not plan.timing.is_cpu:  # those of baselines are for another target
        return [file for file in files if file.manifest.target in plan.own_targets]
    lacking = plan.timing.lacking
    return [file for file in files if not lacking(file.manifest.format, file.manifest.target)]


def _summary(
    plan: RunPlan,
    artifacts: Sequence[Path],
    accuracy: EvalReport,
    drops: CompareReport,
    latency: BenchReport,
    twin: TwinReport | None,
    command: str,
) -> RunSummary:
    """Everything that the report is written from."""
    checkpoint = plan.checkpoint
    opened = [open_artifact(path) for path in artifacts]
    manifests = [artifact.manifest for artifact in opened]
    own = next(m for m in manifests if m.engine == ENGINE)
    return RunSummary(
        model=checkpoint.name,
        arch=checkpoint.arch,
        params=sum(p.numel() for p in checkpoint.network().parameters()),
        weights=Path(checkpoint.source).name,
        weights_sha256=checkpoint.sha256,
        artifacts=tuple(_listed(artifact, plan.config.out) for artifact in opened),
        eval=accuracy,
        compare=drops,
        bench=latency,
        calibration=next((m.calibration.subset for m in manifests if m.calibration), None),
        trained=plan.trained,
        command=without_paths(command),
        seconds=plan.stages.seconds,
        twin=twin,
        kept_float=own.kept_float,
        clipping=own.clipping,
        num_classes=checkpoint.num_classes,
    )


def _listed(artifact: Artifact, folder: Path) -> ExportResult:
    """What a run says of an artifact: its paths are relative to the run's folder."""
    result = artifact.result()
    names = {name: getattr(result, name) for name in ("artifact", "manifest")}
    relative = {name: Path(path).relative_to(folder).as_posix() for name, path in names.items()}
    return result.model_copy(update=relative)


def _write(path: Path, record: Record) -> Path:
    write_text(path, record.model_dump_json(indent=2) + "\n")
    return path
