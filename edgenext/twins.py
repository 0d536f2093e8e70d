"""The stressed twin of a run: the same function, quantized by every engine of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgenext import api
from edgenext.artifact import content_sha256, open_artifact
from edgenext.config import RunConfig
from edgenext.evaluation import Progress, comparison, measure
from edgenext.files import sha256_file, write_text
from edgenext.models.sidecar import sidecar_path
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.schema import CompareReport, TwinReport, TwinRow
from edgenext.stages import Stages


def stress_run(
    config: RunConfig,
    runner: Stages,
    options: ModelOptions,
    engines: Mapping[str, tuple[QuantizeOptions, ExportOptions]],
    *,
    plain: Path,
    made: Mapping[str, Path],
    inputs: Mapping[str, Any],
    data: str,
    progress: Progress,
) -> TwinReport | None:
    """Quantize the twin with every engine and compare all with the plain float file.

    Args:
        config: of the run; None without a `[stress]` section.
        runner: the run's stages.
        options: where the network's weights are.
        engines: engine → calibration, target and scheme, and what its files are.
        plain: the plain float file, the base of all drops.
        made: engine → its quantized file of the network itself.
        inputs: what the run's files are made from.
        data: sha256 of the evaluation images.
        progress: told how far a stage is.
    """
    if config.stress is None:
        return None
    wanted = config.stress
    folder = config.out / "twin"
    twin = folder / "twin.safetensors"

    def rescale() -> list[Path]:
        api.stress(config.model, twin, options, seed=wanted.seed, strength=wanted.strength)
        return [twin, sidecar_path(twin)]

    runner.stage("twin", dict(inputs) | wanted.model_dump(), rescale)
    with_twin = replace(options, weights=twin, random_weights=False, reset_head=False)
    twins: dict[str, Path] = {}
    for engine, (how, graph) in engines.items():

        def quantize(how: QuantizeOptions = how, graph: ExportOptions = graph) -> list[Path]:
            artifact = api.quantize(
                config.model, how, with_twin, graph, out=folder, progress=progress
            )
            return artifact.files

        keys = {"twin": sha256_file(twin), "of": content_sha256(made[engine])}
        twins[engine] = runner.stage(f"quantize twin, {engine}", keys, quantize)[0]
    files = [plain, *made.values(), *twins.values()]
    report = folder / "compare.json"

    def compare() -> list[Path]:
        found = measure(
            list(map(str, files)), config.data, options, limit=config.limit, progress=progress
        )
        write_text(report, comparison(found).model_dump_json(indent=2) + "\n")
        return [report]

    hashes = {str(i): content_sha256(path) for i, path in enumerate(files)}
    runner.stage("evaluate twin", {"files": hashes, "data": data}, compare)
    compared = CompareReport.model_validate_json(report.read_bytes())
    ours = [open_artifact(path).manifest.sha256 for path in (made["edgenext"], twins["edgenext"])]
    return TwinReport(
        seed=wanted.seed,
        strength=wanted.strength,
        n=compared.n,
        same_file=ours[0] == ours[1],
        rows=_rows(compared, list(made)),
    )


def _rows(compared: CompareReport, engines: Sequence[str]) -> tuple[TwinRow, ...]:
    """Each engine on the network, then on its twin."""
    count = len(engines)
    return tuple(
        TwinRow(engine=engine, on=on, comparison=compared.others[i + offset])
        for i, engine in enumerate(engines)
        for on, offset in (("network", 0), ("twin", count))
    )
