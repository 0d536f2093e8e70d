"""Search under a budget: the fastest artifact whose measured drop stays under it.

Three sets of images, disjoint by content: ranges come from the calibration images, the choice from
one half of the labelled images, the numbers that are reported from the other half. Every candidate
is a real file: its accuracy and its latency are measured, never predicted. Sensitivity only says in
which order sites are given back to float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgenext import quantization
from edgenext.artifact import Artifact, open_artifact
from edgenext.benchmark.accuracy import compare, evaluate
from edgenext.benchmark.environment import environment
from edgenext.benchmark.latency import bench
from edgenext.benchmark.quietest import quietest
from edgenext.benchmark.statistics import images_needed
from edgenext.data import ImageSet, require_disjoint
from edgenext.errors import DataError, UsageError, unknown_name
from edgenext.evaluation import Progress, images_for, quiet
from edgenext.export.artifacts import Content, Graph, write_artifact
from edgenext.export.parity import onnx_reference
from edgenext.files import write_text
from edgenext.graph.targets import require_target
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.quantize.artifacts import PARITY_IMAGES, PreparedBatches, write_quantized
from edgenext.quantize.engine import Prepared, place, prepare
from edgenext.quantize.recipe import STATIC, Recipe
from edgenext.quantize.variants import Variant, variants
from edgenext.runtimes.base import Logits
from edgenext.schema import BenchReport, Candidate, Comparison, SearchReport
from edgenext.stages import Stages
from edgenext.subjects import open_subject

OBJECTIVES = ("latency", "size")
MOST_DROP = 100.0


@dataclass(frozen=True)
class Task:
    """What is searched: one float graph, its images, a recipe to start from and a budget."""

    graph: Graph
    calibration: ImageSet
    choosing: ImageSet
    reporting: ImageSet
    recipe: Recipe
    budget: float
    objective: str
    stem: str
    seed: int = 0


def silent(stage: str, needed: bool) -> None:
    """Announce nothing."""


def search(
    what: str,
    how: QuantizeOptions,
    data: str | Path,
    budget: float,
    options: ModelOptions | None = None,
    export_options: ExportOptions | None = None,
    *,
    objective: str = "latency",
    limit: int | None = None,
    out: Path = Path(),
    progress: Progress = quiet,
    announce: Callable[[str, bool], None] = silent,
) -> SearchReport:
    """Find the fastest (or smallest) artifact under a budget: see `edgenext quantize --max-drop`.

    Stopped, it goes on where it was: everything it makes is keyed by what it was made from.

    Args:
        what: a model or a float artifact.
        how: target, scheme and calibration.
        data: labelled images; half of them choose, the other half report.
        budget: points of top-1 that the upper end of the drop's interval must stay under.
        options: where the weights come from.
        export_options: batch and input of the graph.
        objective: `latency` or `size`.
        limit: use a stratified subset of so many labelled images.
        out: folder; the search has one of its own in it.
        progress: told how far a stage is.
        announce: told the name of each stage, and whether it is done now or was already.

    Raises:
        UsageError: a budget or objective that cannot be, or a scheme that is not static.
        DataError: too few labelled images.
        OverlapError: calibration images among the labelled ones.
    """
    task, subject_name = _task(
        what, how, data, budget, options, export_options, objective, limit, progress
    )
    folder = out / f"{task.stem}-search"
    stages = Stages(folder, announce)
    noise = _noise(what, how, options, progress)
    artifacts = _artifacts(task, noise, stages, folder, progress)
    report = _report(task, subject_name, artifacts, stages, folder, progress)
    write_text(folder / "search.json", report.model_dump_json(indent=2) + "\n")
    return report


def _task(
    what: str,
    how: QuantizeOptions,
    data: str | Path,
    budget: float,
    options: ModelOptions | None,
    export_options: ExportOptions | None,
    objective: str,
    limit: int | None,
    progress: Progress,
) -> tuple[Task, str]:
    if objective not in OBJECTIVES:
        raise unknown_name("objective", objective, OBJECTIVES)
    if not 0 <= budget <= MOST_DROP:
        raise UsageError(f"a drop of at most {budget:g} points is no budget", "Use 0 to 100")
    recipe = quantization.recipe_of(how)
    if recipe.scheme not in STATIC:
        raise UsageError(f"{recipe.scheme} has nothing to search", f"Use {' or '.join(STATIC)}")
    target = require_target(recipe.target)
    asked = export_options.file_format if export_options else "onnx"
    if wrong := next((name for name in (asked, target.format) if name != "onnx"), ""):
        raise UsageError(
            f"a search makes and measures ONNX, not {wrong}",
            "Search for cpu-onnxruntime or cpu-openvino, or leave --max-drop out",
        )
    if target.place and objective == "latency":
        raise UsageError(
            f"this CPU's latency tells nothing of {target.place}", "Use --objective size"
        )
    subject = open_subject(what, options or ModelOptions())
    labelled = images_for(subject, data, "val", limit=limit, seed=how.seed, progress=progress)
    choosing, reporting = halves(labelled, how.seed)
    calibration = quantization.scheme_images(subject, how, recipe.scheme, progress)
    for images in (choosing, reporting):
        require_disjoint(images, calibration.calibration())
    graph, stem = quantization.float_graph(subject, how, recipe, export_options or ExportOptions())
    task = Task(graph, calibration, choosing, reporting, recipe, budget, objective, stem, how.seed)
    return task, subject.name


def halves(images: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """Two disjoint halves of labelled images, each class in both.

    Raises:
        DataError: fewer than two images.
    """
    if len(images) < 2:
        raise DataError(
            f"{images.info.data} has too few images to choose on some and report others"
        )
    order = np.random.default_rng(seed).permutation(len(images))
    by_class = order[np.argsort(images.labels[order], kind="stable")]
    return images.take(np.sort(by_class[::2])), images.take(np.sort(by_class[1::2]))


def _noise(
    what: str, how: QuantizeOptions, options: ModelOptions | None, progress: Progress
) -> dict[str, float]:
    """Share of the logits' energy that each site's rounding adds when it is alone."""
    found = quantization.sensitivity(what, how, options or ModelOptions(), progress=progress)
    return {row.site: 10 ** (-row.only.sqnr_db / 10) for row in found.rows}


def _artifacts(
    task: Task, noise: dict[str, float], stages: Stages, folder: Path, progress: Progress
) -> list[Artifact]:
    """The float file and every variant, made now or found."""
    inputs = {
        "weights": task.graph.source,
        "form": task.graph.form,
        "calibration": task.calibration.info.sha256,
        "seed": task.seed,
    }
    base = folder / f"{task.stem}-fp32.onnx"

    def export() -> list[Path]:
        model = task.graph.model
        images = task.calibration.images[:PARITY_IMAGES]
        return write_artifact(task.graph, base, images, onnx_reference(model), Content()).files

    paths = [stages.stage("float", inputs, export)[0]]
    prepared: list[Prepared] = []

    def calibrated() -> Prepared:  # once, and only if something is to be made
        if not prepared:
            batches = PreparedBatches(task.graph, task.calibration.images)
            told = partial(progress, "calibrating")
            prepared.append(prepare(task.graph.model, batches, task.recipe, task.seed, told))
        return prepared[0]

    for variant in variants(task.recipe, task.graph.model, noise):
        keys = inputs | {"recipe": variant.recipe.model_dump(mode="json")}
        make = partial(_quantize, task, variant, calibrated, folder, progress)
        paths.append(stages.stage(f"quantize {variant.name}", keys, make)[0])
    return [open_artifact(path) for path in paths]


def _quantize(
    task: Task,
    variant: Variant,
    prepared: Callable[[], Prepared],
    folder: Path,
    progress: Progress,
) -> list[Path]:
    made = place(prepared(), variant.recipe, partial(progress, f"rounding {variant.name}"))
    path = folder / f"{task.stem}-{variant.name}.onnx"
    return write_quantized(task.graph, made, task.calibration, path, variant.recipe).files


def _report(
    task: Task,
    model: str,
    artifacts: Sequence[Artifact],
    stages: Stages,
    folder: Path,
    progress: Progress,
) -> SearchReport:
    hashes = [a.manifest.sha256 for a in artifacts]
    machine = environment().model_dump(mode="json")
    latency = BenchReport.model_validate_json(
        stages.stage(
            "benchmark",
            {"files": hashes, "machine": machine},
            partial(_bench, artifacts, folder, progress),
        )[0].read_bytes()
    )
    logits = partial(_logits, stages=stages, folder=folder, progress=progress)
    base = logits(artifacts[0], task.choosing, "choosing")
    candidates = [
        _candidate(
            artifact,
            compare(
                artifact.name,
                base,
                base if artifact is artifacts[0] else logits(artifact, task.choosing, "choosing"),
                task.choosing.labels,
                sha256=artifact.manifest.sha256,
                scheme=artifact.manifest.scheme,
            ),
            latency,
            task.budget,
        )
        for artifact in artifacts
    ]
    candidates = _with_front(candidates, task.objective)
    chosen = choose(candidates, task.objective)
    winner = artifacts[candidates.index(chosen)]
    final = compare(
        winner.name,
        logits(artifacts[0], task.reporting, "reporting"),
        logits(winner, task.reporting, "reporting"),
        task.reporting.labels,
        sha256=winner.manifest.sha256,
        scheme=winner.manifest.scheme,
    )
    return SearchReport(
        model=model,
        target=task.recipe.target,
        budget=task.budget,
        objective=task.objective,
        candidates=tuple(candidates),
        chosen=winner.name,
        path=str(winner.path),
        final=final,
        met=final.drop.ci95[1] < task.budget,
        images_needed=images_needed(
            final.drop.lost, final.drop.gained, len(task.reporting), task.budget
        ),
        choosing=task.choosing.info,
        reporting=task.reporting.info,
        environment=latency.environment,
        sentence=sentence(task, candidates[0], chosen, final),
    )


def _candidate(
    artifact: Artifact, found: Comparison, latency: BenchReport, budget: float
) -> Candidate:
    row = next(r for r in latency.results if r.sha256 == artifact.manifest.sha256)
    first = latency.results[0].artifact
    ratio = next((r for r in latency.ratios if (r.a, r.b) == (first, row.artifact)), None)
    return Candidate(
        comparison=found,
        size_bytes=artifact.manifest.size_bytes,
        p50_ms=row.p50_ms,
        speed=ratio.median if ratio else 1.0,
        valid=row.valid,
        meets=found.drop.ci95[1] < budget,
        kept_float=artifact.manifest.kept_float,
    )


def _bench(artifacts: Sequence[Artifact], folder: Path, progress: Progress) -> list[Path]:
    path = folder / "bench.json"
    report = quietest(lambda: bench(list(artifacts), progress=partial(progress, "benchmarking")))
    write_text(path, report.model_dump_json(indent=2) + "\n")
    return [path]


def _logits(
    artifact: Artifact,
    images: ImageSet,
    part: str,
    *,
    stages: Stages,
    folder: Path,
    progress: Progress,
) -> Logits:
    """An artifact's logits on images, measured now or found."""
    from edgenext.files import atomic_path
    from edgenext.runtimes import open_session

    path = folder / "logits" / f"{artifact.name}-{part}.npy"

    def run() -> list[Path]:
        values = evaluate(open_session(artifact, 0), images, partial(progress, artifact.name))
        with atomic_path(path) as temporary, temporary.open("wb") as f:
            np.save(f, values, allow_pickle=False)
        return [path]

    keys = {"artifact": artifact.manifest.sha256, "images": images.info.sha256}
    found: Logits = np.load(stages.stage(f"{part}: {artifact.name}", keys, run)[0])
    return found


def _cost(candidate: Candidate, objective: str) -> float:
    return candidate.p50_ms if objective == "latency" else float(candidate.size_bytes)


def _with_front(candidates: Sequence[Candidate], objective: str) -> list[Candidate]:
    """Candidates marked when no other is both cheaper and nearer to the float network."""

    def beaten(one: Candidate) -> bool:
        return any(
            _cost(other, objective) < _cost(one, objective)
            and other.comparison.sqnr_db > one.comparison.sqnr_db
            for other in candidates
        )

    return [c.model_copy(update={"front": not beaten(c)}) for c in candidates]


def choose(candidates: Sequence[Candidate], objective: str) -> Candidate:
    """The cheapest quantized candidate that meets the budget, else the one that comes nearest.

    The float file is the base of the comparison, not a candidate.
    """
    quantized = [c for c in candidates if c.comparison.scheme != "fp32"]
    able = [c for c in quantized if c.meets]
    if able:
        return min(able, key=lambda c: _cost(c, objective))
    return min(quantized, key=lambda c: c.comparison.drop.ci95[1])


def sentence(task: Task, base: Candidate, chosen: Candidate, final: Comparison) -> str:
    """What was found, in one sentence with its evidence; `base` is the float file."""
    low, high = final.drop.ci95
    n = len(task.reporting)
    drop = f"{final.drop.points:.2f} points (95 % interval {low:.2f} to {high:.2f}, n = {n})"
    name = final.artifact
    if high < task.budget:
        gain = f"{chosen.speed:.2f}x the speed"
        if task.objective == "size":
            gain = f"{chosen.size_bytes / base.size_bytes:.2f}x the size"
        return (
            f"{name} stays under the budget of {task.budget:g} points: on images the search has "
            f"not seen it costs {drop}, at {gain} of the float file."
        )
    more = images_needed(final.drop.lost, final.drop.gained, n, task.budget)
    told = (
        f"about {more:,} images would tell"
        if more is not None
        else "its drop alone is over the budget, and no number of images would change that"
    )
    return (
        f"No candidate is shown to stay under the budget of {task.budget:g} points; the best is "
        f"{name}, which costs {drop}: {told}."
    )
