"""Search under a budget: the fastest artifact whose measured drop stays under it.

Three sets of images, disjoint by content: ranges come from the calibration images, the choice from
one half of the labelled images, the numbers that are reported from the other half. Every candidate
is a real file: its accuracy and its latency are measured, never predicted. Sensitivity only says in
which order sites are given back to float.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edgenext.benchmark.latency import bench_artifacts, check_numbers
from edgenext.benchmark.noise import floor_of
from edgenext.benchmark.retry import noisy, quietest
from edgenext.commands.context import Context
from edgenext.commands.folder import WorkOwner, work_folder
from edgenext.commands.images import labelled_images
from edgenext.commands.inputs import BenchmarkInputs, QuantizeInputs
from edgenext.commands.quantize import (
    QuantizeSettings,
    export_settings,
    float_graph,
    resolve_quantization,
    scheme_images,
)
from edgenext.commands.sample_size import EXPECTED_FLIPS
from edgenext.commands.search_choice import (
    OBJECTIVES,
    choose,
    halves,
    sentence,
    shortage,
    with_front,
)
from edgenext.commands.search_scores import SearchScores
from edgenext.commands.sensitivity import sensitivity
from edgenext.commands.sequence import Stopping
from edgenext.commands.stages import Announce, Stages, numbered, silent
from edgenext.commands.subject import Subject, of_kind
from edgenext.data import ImageSet, require_disjoint
from edgenext.errors import UsageError, unknown_name
from edgenext.export.artifacts import export_graph
from edgenext.export.deployment_graph import Graph
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.metrics.sequence import INTERVALS, sequence_interval
from edgenext.metrics.statistics import images_needed, images_without_drop, tango_interval
from edgenext.options import (
    BENCH,
    DEFAULT_FORMAT,
    DEFAULT_MAX_DROP,
    ENGINE,
    EXPORT,
    MODEL,
    BenchOptions,
    DataOptions,
    ExportOptions,
    ModelOptions,
    QuantizeOptions,
    require_budget,
)
from edgenext.quantize.batches import ImageBatches
from edgenext.quantize.mixed_precision import RecipeVariant, mixed_precision_variants
from edgenext.quantize.quantized_artifact import PARITY_IMAGES, write_quantized
from edgenext.quantize.sensitivity import SITE_BY_SITE
from edgenext.quantize.static import PreparedGraph, prepare_graph, quantize_prepared
from edgenext.report.ci.results import images_used
from edgenext.report.load import SEARCH
from edgenext.schema import BenchReport, Candidate, Comparison, SearchReport
from edgenext.system.files import write_text
from edgenext.system.sums import write_sums
from edgenext.targets.scheme import CALIBRATED, FLOAT
from edgenext.targets.target import require_target

_log = logging.getLogger(__name__)

TASKS = (SITE_BY_SITE, "float", "quantize *", "benchmark", "choosing: *", "reporting: *")
"""What a search does, in order."""


@dataclass(frozen=True)
class SearchTask:
    """What is searched, and where: one float graph, its images, a recipe and a budget in points."""

    subject: Subject
    graph: Graph
    stem: str
    settings: QuantizeSettings
    calibration: ImageSet
    choosing: ImageSet
    reporting: ImageSet
    budget: float
    stops_early: bool
    objective: str
    bench_options: BenchOptions
    folder: Path
    stages: Stages
    context: Context

    @property
    def seed(self) -> int:
        """Of every random choice."""
        return self.settings.options.seed


def search(
    subject: str | Path | None,
    data: DataOptions | str | Path,
    quantize_options: QuantizeOptions,
    model_options: ModelOptions = MODEL,
    export_options: ExportOptions = EXPORT,
    *,
    max_drop: float | None = None,
    all_images: bool = False,
    objective: str = OBJECTIVES[0],
    bench_options: BenchOptions = BENCH,
    out: Path = Path(),
    announce: Announce = silent,
    context: Context | None = None,
) -> SearchReport:
    """Find the fastest (or smallest) artifact under a budget: see `edgenext search`.

    Stopped, it goes on where it was: everything it makes is keyed by what it was made from.

    Args:
        subject: a model's name or a float artifact; None for the model that the weights fit.
        data: labelled images; half of them choose, the other half report.
        quantize_options: target, scheme and calibration.
        model_options: where the weights come from.
        export_options: batch and input of the graph.
        max_drop: points of top-1 that the upper end of the drop's interval must stay under; a
            file is evaluated only until images decide it. Without it 1, and all images are used.
        all_images: use all images, also where fewer decide `max_drop`.
        objective: `latency` or `size`.
        bench_options: how the candidates are timed.
        out: folder; the search has one of its own in it.
        announce: told the name of each stage, and whether it is done now or was already.
        context: what was loaded before.

    Raises:
        UsageError: an unknown objective, a budget outside 0 to 100, or a scheme that is not static.
        DataError: too few labelled images.
        OverlapError: calibration images among the labelled ones.
        OutputError: another process searches in the folder, or it holds another network's search.

    >>> options = QuantizeOptions(calib="digits", n=8)
    >>> data, timing = DataOptions("digits", limit=40), BenchOptions(rounds=1)
    >>> file = "edgenext_xx_small-32-fp32.onnx"
    >>> report = search(file, data, options, max_drop=90, bench_options=timing)
    >>> len(report.candidates) > 2, report.met
    (True, True)
    """
    budget = DEFAULT_MAX_DROP if max_drop is None else max_drop
    stops_early = max_drop is not None and not all_images
    _require_possible(quantize_options, budget, export_options, objective)
    check_numbers(bench_options)
    settings = resolve_quantization(quantize_options, export_options)
    if quantize_options.qat:
        raise UsageError("a search trains nothing", "Train the file it chooses: quantize --qat")
    _require_searchable(settings, objective)
    context = context or Context()
    network = context.subject(subject, of_kind(model_options, export_options))
    network.require_logits()
    network.require_sites("search")
    labelled = labelled_images(
        context, network, replace(DataOptions.of(data), seed=quantize_options.seed)
    )
    choosing, reporting = halves(labelled, quantize_options.seed)
    interval = sequence_interval if stops_early else tango_interval
    if warning := shortage(len(choosing), len(reporting), budget, interval):
        _log.warning("%s", warning)
    calibration = scheme_images(context, network, settings)
    for images in (choosing, reporting):
        require_disjoint(images, calibration.calibration())
    graph, stem = float_graph(context, network, settings)
    settings = replace(settings, export=export_settings(network, graph, settings))
    stem = settings.export.file_stem(stem)
    folder = out / f"{stem}-search"
    with work_folder(folder, _owner(network)), context.progress.steps(*TASKS):
        task = SearchTask(
            subject=network,
            graph=graph,
            stem=stem,
            settings=settings,
            calibration=calibration,
            choosing=choosing,
            reporting=reporting,
            budget=budget,
            stops_early=stops_early,
            objective=objective,
            bench_options=bench_options,
            folder=folder,
            stages=Stages(folder, numbered(announce, context.progress)),
            context=context,
        )
        effects = sensitivity(subject, quantize_options, model_options, context=context)
        # the share of the logits' energy that each site's rounding adds when it is alone
        noise = {row.site: 10 ** (-row.only.sqnr_db / 10) for row in effects.rows}
        artifacts = _artifacts(task, noise)
        latency = _latency(task, artifacts)
        report = _report(task, artifacts, latency)
        write_text(folder / SEARCH, report.model_dump_json(indent=2) + "\n")
        if noisy(latency):
            # the next search in this folder may find a quiet machine
            task.stages.forget("benchmark")
        write_sums(folder, [folder / SEARCH, *task.stages.paths])
        return report


def _owner(network: Subject) -> WorkOwner:
    """Whose work a search's folder holds: of a file, the network that it was made from."""
    if network.checkpoint:
        return WorkOwner.of(network.checkpoint)
    assert network.artifact  # noqa: S101 - a subject is one or the other
    m = network.artifact.manifest
    weights = m.source.get("sha256", m.sha256)
    return WorkOwner(arch=m.arch, num_classes=m.num_classes, size=m.eval.size, weights=weights)


def _require_possible(
    quantize_options: QuantizeOptions,
    max_drop: float,
    export_options: ExportOptions,
    objective: str,
) -> None:
    if objective not in OBJECTIVES:
        raise unknown_name("objective", objective, OBJECTIVES)
    require_budget(max_drop)
    if quantize_options.engine != ENGINE:
        raise UsageError(
            f"the engine {quantize_options.engine} has nothing to search", f"Use {ENGINE}"
        )
    formats = (export_options.format, require_target(quantize_options.target).format)
    if other := next((name for name in formats if name != DEFAULT_FORMAT), ""):
        raise UsageError(
            f"a search makes and measures ONNX, not {other}",
            "Search for cpu-onnxruntime or cpu-openvino, or make one file: edgenext quantize",
        )


def _require_searchable(settings: QuantizeSettings, objective: str) -> None:
    recipe = settings.recipe
    if recipe.scheme not in CALIBRATED:
        raise UsageError(f"{recipe.scheme} has nothing to search", f"Use {' or '.join(CALIBRATED)}")
    target = require_target(recipe.target)
    if target.place and objective == "latency":
        raise UsageError(
            f"this CPU's latency says nothing of {target.place}", "Use --objective size"
        )


def _artifacts(task: SearchTask, noise: dict[str, float]) -> list[Artifact]:
    """The float file and every variant, made now or before."""
    recipe, progress = task.settings.recipe, task.context.progress
    inputs = partial(QuantizeInputs.of, task.subject, task.settings, task.calibration)
    base = task.folder / f"{task.stem}-fp32.onnx"

    def export() -> list[Path]:
        images = task.calibration.images[:PARITY_IMAGES]
        settings = replace(task.settings.export, scheme=FLOAT, engine="")
        return export_graph(task.graph, settings, base, images, progress).files

    paths = [task.stages.stage("float", inputs(None), export)[0]]
    prepared: list[PreparedGraph] = []

    def calibrated() -> PreparedGraph:  # once, and only if something is to be made
        if not prepared:
            batches = ImageBatches(task.graph, task.calibration.images)
            prepared.append(prepare_graph(task.graph.model, batches, recipe, task.seed, progress))
        return prepared[0]

    for variant in mixed_precision_variants(recipe, task.graph.model, noise):
        produce = partial(_quantize, task, variant, calibrated)
        stage = f"quantize {variant.name}"
        paths.append(task.stages.stage(stage, inputs(variant.recipe), produce)[0])
    return [open_artifact(path) for path in paths]


def _quantize(
    task: SearchTask, variant: RecipeVariant, prepared: Callable[[], PreparedGraph]
) -> list[Path]:
    quantized = quantize_prepared(prepared(), variant.recipe, task.context.progress)
    path = task.folder / f"{task.stem}-{variant.name}.onnx"
    return write_quantized(
        task.graph,
        task.settings.export,
        quantized,
        task.calibration,
        path,
        variant.recipe,
        task.seed,
        task.context.progress,
    ).files


def _report(task: SearchTask, artifacts: Sequence[Artifact], latency: BenchReport) -> SearchReport:
    """Score every candidate, choose one, and judge it on the images kept for that."""
    stopping = Stopping(task.budget, task.seed) if task.stops_early else None
    scores = SearchScores(artifacts[0], task.stages, task.context, stopping)
    comparisons = [scores.comparison(one, task.choosing, "choosing") for one in artifacts]
    candidates = with_front(
        [
            _candidate(artifact, comparison, latency, task.budget)
            for artifact, comparison in zip(artifacts, comparisons, strict=True)
        ],
        task.objective,
    )
    chosen = choose(candidates, task.objective, floor_of(latency))
    winner = artifacts[candidates.index(chosen)]
    final = scores.comparison(winner, task.reporting, "reporting")
    scores.finish()
    drop, n = final.drop, images_used(final, len(task.reporting))
    interval = INTERVALS[drop.interval]
    return SearchReport(
        model=task.subject.name,
        target=task.settings.recipe.target,
        budget=task.budget,
        objective=task.objective,
        candidates=tuple(candidates),
        chosen=winner.name,
        path=f"{task.folder.name}/{winner.path.name}",
        final=final,
        met=drop.ci95[1] < task.budget,
        images_needed=images_needed(drop.lost, drop.gained, n, task.budget, interval),
        choosing=task.choosing.info,
        reporting=task.reporting.info,
        environment=latency.environment,
        noise_floor=floor_of(latency),
        least_images=images_without_drop(0, task.budget, interval),
        expected_images=images_without_drop(EXPECTED_FLIPS, task.budget, interval),
        sentence=sentence(
            candidates[0],
            chosen,
            final,
            budget=task.budget,
            objective=task.objective,
            n=n,
        ),
    )


def _candidate(
    artifact: Artifact, comparison: Comparison, latency: BenchReport, budget: float
) -> Candidate:
    row = next(r for r in latency.results if r.sha256 == artifact.manifest.sha256)
    first = latency.results[0].artifact
    ratio = next((r for r in latency.ratios if (r.a, r.b) == (first, row.artifact)), None)
    return Candidate(
        comparison=comparison,
        size_bytes=artifact.manifest.size_bytes,
        p50_ms=row.p50_ms,
        speed=ratio.median if ratio else 1.0,
        speed_ci95=ratio.ci95 if ratio else None,
        valid=row.valid,
        meets=row.artifact == first or comparison.drop.ci95[1] < budget,
        kept_float=artifact.manifest.kept_float,
    )


def _latency(task: SearchTask, artifacts: Sequence[Artifact]) -> BenchReport:
    """Latency of all candidates, measured now or before."""
    path = task.folder / "bench.json"

    def produce() -> list[Path]:
        measure = partial(bench_artifacts, artifacts, task.bench_options, task.context.progress)
        write_text(path, quietest(measure).model_dump_json(indent=2) + "\n")
        return [path]

    inputs = BenchmarkInputs.of(artifacts, task.bench_options)
    task.stages.stage("benchmark", inputs, produce)
    return BenchReport.model_validate_json(path.read_bytes())
