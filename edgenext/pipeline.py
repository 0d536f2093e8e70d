"""The whole chain as a run: stages keyed by their inputs' hashes, so nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenext import api
from edgenext.artifact import content_sha256, open_artifact
from edgenext.benchmark.quietest import noisy, quietest
from edgenext.config import RunConfig, validated
from edgenext.errors import unknown_name
from edgenext.evaluation import (
    Progress,
    calibration_images,
    comparison,
    images_for,
    measure,
    scores,
)
from edgenext.files import atomic_path, write_text
from edgenext.options import EXPORT, BenchOptions, ExportOptions, ModelOptions, QuantizeOptions
from edgenext.schema import BenchReport, CompareReport, EvalReport, Record, RunSummary
from edgenext.stages import Stages, digest
from edgenext.subjects import Subject, load
from edgenext.twins import stress_run

if TYPE_CHECKING:
    from edgenext.quantize.recipe import Recipe


def run(
    config: RunConfig,
    *,
    progress: Progress,
    announce: Callable[[str, bool], None],
    command: str = "",
) -> list[Path]:
    """Checkpoint to report: train if asked, export, quantize, evaluate, benchmark, report.

    Args:
        config: what to do.
        progress: told how far a stage is.
        announce: told the name of each stage, and whether it is done now or was already.
        command: recorded in the report.

    Returns:
        The report's files.
    """
    from edgenext.benchmark.worker import TIMED

    wanted, recipe = config.quantize, _recipe(config)
    runner = Stages(config.out, announce)
    options, trained = _weights(runner, config, progress)
    checkpoint = load(config.model, options)
    subject = Subject(checkpoint=checkpoint)
    evaluation = images_for(subject, config.data, "val", limit=config.limit, progress=progress)

    how = QuantizeOptions(
        scheme=wanted.scheme,
        target=recipe.target,
        recipe=wanted.recipe,
        calib=config.calib or config.data,
        n=wanted.n,
        seed=wanted.seed,
        exclude=evaluation.hashes,
    )
    calibration = calibration_images(subject, how, progress)

    folder = config.out / "artifacts"
    base = {
        "weights": checkpoint.sha256,
        "eval": checkpoint.eval.model_dump(),
        "labels": checkpoint.labels,
    }
    artifacts: list[Path] = []
    for stage, graph in _floats(recipe.target).items():

        def export(graph: ExportOptions = graph) -> list[Path]:
            return api.export(config.model, options, graph, out=folder, data=config.data).files

        keys = base | {"form": graph.form, "target": graph.target, "format": graph.file_format}
        artifacts += runner.stage(stage, keys, export)[:1]

    engines = _engines(config, how)
    made: dict[str, Path] = {}
    for engine, (wish, graph) in engines.items():

        def make(wish: QuantizeOptions = wish, graph: ExportOptions = graph) -> list[Path]:
            artifact = api.quantize(
                config.model, wish, options, graph, out=folder, progress=progress
            )
            return artifact.files

        inputs = base | {
            "calibration": calibration.info.sha256,
            "engine": engine,
            "target": wish.target,
            "format": graph.file_format,
            "recipe": recipe.model_dump(),
            "seed": wanted.seed,
        }
        made[engine] = runner.stage(f"quantize, {engine}", inputs, make)[0]
    artifacts += made.values()

    hashes = {path.name: content_sha256(path) for path in artifacts}

    _, scored, compared = runner.stage(
        "evaluate",
        {"artifacts": hashes, "data": evaluation.info.sha256},
        lambda: _evaluate(config, options, artifacts, progress),
    )
    accuracy = EvalReport.model_validate_json(scored.read_bytes())
    # what only an interpreter runs here has no latency
    timed = [
        path
        for path, result in zip(artifacts, accuracy.results, strict=False)
        if result.evidence in TIMED
    ]
    (latency,) = runner.stage(
        "benchmark",
        {"artifacts": hashes, "machine": _machine()} | config.bench.model_dump(),
        lambda: _bench(config, timed, progress, announce),
    )
    twin = stress_run(
        config,
        runner,
        options,
        engines,
        plain=artifacts[0],
        made=made,
        inputs=base,
        data=evaluation.info.sha256,
        progress=progress,
    )
    bench = BenchReport.model_validate_json(latency.read_bytes())
    results = [open_artifact(path) for path in artifacts]
    summary = RunSummary(
        model=checkpoint.name,
        arch=checkpoint.arch,
        params=sum(p.numel() for p in checkpoint.network().parameters()),
        weights=Path(checkpoint.source).name,
        weights_sha256=checkpoint.sha256,
        artifacts=tuple(a.result() for a in results),
        eval=accuracy,
        compare=CompareReport.model_validate_json(compared.read_bytes()),
        bench=bench,
        calibration=next((c.subset for a in results if (c := a.manifest.calibration)), None),
        trained=trained,
        command=command,
        seconds=runner.seconds,
        twin=twin,
        kept_float=open_artifact(made["edgenext"]).manifest.kept_float,
    )
    write_text(config.out / "run.json", summary.model_dump_json(indent=2) + "\n")
    if noisy(bench):
        runner.forget("benchmark")  # the next run of this folder may find a quiet machine
    announce("report", True)
    return api.report(config.out, budget=config.max_drop)


def _recipe(config: RunConfig) -> Recipe:
    """What our engine does, once nothing speaks against the run: training may take hours.

    Raises:
        UsageError: a target, scheme or rival that cannot be.
        MissingDependencyError: a converter that is not installed.
    """
    from edgenext.environments import python_for
    from edgenext.export.formats import require_format, require_scheme
    from edgenext.graph.targets import require_target
    from edgenext.quantize.artifacts import RIVALS, require_engine
    from edgenext.quantize.recipe import load_recipe

    wanted = config.quantize
    recipe = load_recipe(wanted.target, wanted.scheme, wanted.recipe)
    own = require_target(recipe.target).format
    require_scheme(own, recipe.scheme, recipe.target)
    for rival in config.rivals:
        if rival not in RIVALS:
            raise unknown_name("rival", rival, RIVALS)
        require_engine(rival, recipe.scheme)
    kind = require_format(own).made_by({}, recipe.target)
    if kind.needs:
        python_for(kind.needs, kind.extra or kind.converter)
    return recipe


def _floats(target: str) -> dict[str, ExportOptions]:
    """The float files by their stages.

    The plain one, the base of all figures, is ONNX, whatever the target's own format is.
    """
    from edgenext.export.formats import own_format
    from edgenext.graph.targets import DEFAULT_TARGET, form_for, require_target

    plain = target if require_target(target).format == "onnx" else DEFAULT_TARGET
    own = own_format(target, "fp32")
    return {
        "export plain": ExportOptions(form="naive", target=plain),
        "export": ExportOptions(form=form_for(target), target=target, file_format=own),
    }


def _engines(
    config: RunConfig, how: QuantizeOptions
) -> dict[str, tuple[QuantizeOptions, ExportOptions]]:
    """What each engine makes: ours the target's own file, a rival the one that it is for."""
    from edgenext.graph.targets import require_target
    from edgenext.quantize.artifacts import RIVALS

    ours = {"edgenext": (how, ExportOptions(file_format=require_target(how.target).format))}
    return ours | {
        rival: (replace(how, engine=rival, target=RIVALS[rival].target, recipe=None), EXPORT)
        for rival in config.rivals
    }


def _weights(
    runner: Stages, config: RunConfig, progress: Progress
) -> tuple[ModelOptions, dict[str, float] | None]:
    """Where the weights are: those of the configuration, or those this run has trained."""
    options = ModelOptions(
        weights=config.weights,
        random_weights=config.random_weights,
        seed=config.weight_seed,
        num_classes=config.num_classes,
        reset_head=config.reset_head,
        size=config.size,
        crop_pct=config.crop_pct,
        labels=config.labels,
    )
    if config.train is None:
        return options, None
    from edgenext.train import TrainRecipe

    recipe = validated(TrainRecipe, config.train, "[train]")
    training = api.prepare_training(config.model, config.data, recipe, options, progress=progress)

    inputs = training.recipe.model_dump() | {
        "from": training.checkpoint.sha256,
        "images": training.images.info.sha256,
        "val": training.val.info.sha256,
    }
    # a folder of its own: an interrupted training is resumed only with the same inputs
    folder = config.out / "training" / digest(inputs)[:8]

    def train() -> list[Path]:
        result = api.train(training, folder, resume=True, progress=progress)
        return [result.weights, result.sidecar]

    weights, sidecar = runner.stage("train", inputs, train)
    facts = json.loads(sidecar.read_text())
    trained = {k: float(facts[k]) for k in ("epochs", "seconds", "top1") if k in facts}
    return ModelOptions(weights=weights), trained


def _evaluate(
    config: RunConfig, options: ModelOptions, artifacts: Sequence[Path], progress: Progress
) -> list[Path]:
    """Logits of the network and all artifacts, their scores, and the drops from the first file."""
    measured = measure(
        [*map(str, artifacts), config.model],
        config.data,
        options,
        limit=config.limit,
        progress=progress,
    )
    arrays = {out.name: out.logits for out in measured.outputs}
    path = config.out / "logits.npz"
    with atomic_path(path) as temporary, temporary.open("wb") as f:
        np.savez_compressed(f, allow_pickle=False, labels=measured.images.labels, **arrays)
    return [
        path,
        _write(config.out / "eval.json", scores(measured)),
        _write(config.out / "compare.json", comparison(measured)),
    ]


def _bench(
    config: RunConfig,
    artifacts: Sequence[Path],
    progress: Progress,
    announce: Callable[[str, bool], None],
) -> list[Path]:
    """Latency; measured again, a few times at most, while the machine is not quiet."""
    how = BenchOptions(**config.bench.model_dump())
    report = quietest(
        lambda: api.bench(artifacts, how=how, progress=progress),
        again=lambda: announce("benchmark again: the machine was not quiet", True),
    )
    return [_write(config.out / "bench.json", report)]


def _machine() -> dict[str, Any]:
    """What a latency belongs to, besides the files."""
    from edgenext.benchmark.environment import environment

    return environment().model_dump(mode="json")


def _write(path: Path, record: Record) -> Path:
    write_text(path, record.model_dump_json(indent=2) + "\n")
    return path
