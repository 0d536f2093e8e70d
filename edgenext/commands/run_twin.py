"""The stressed twin of a run: the same function, quantized by every engine of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgenext.commands.compare import compared
from edgenext.commands.evaluate import evaluate_subjects
from edgenext.commands.inputs import EvaluateInputs, QuantizeInputs, TwinInputs
from edgenext.commands.quantize import (
    QuantizeSettings,
    qat_training,
    quantize_subject,
    settings_images,
)
from edgenext.commands.run_plan import RunPlan
from edgenext.commands.stress import stress
from edgenext.commands.subject import Subject
from edgenext.export.deployment_graph import read_graph
from edgenext.formats.artifact import open_artifact
from edgenext.formats.format import FORMATS
from edgenext.models.sidecar import sidecar_path
from edgenext.options import ENGINE
from edgenext.schema import CompareReport, TwinReport, TwinRow
from edgenext.system.files import write_text


def quantize_twin(plan: RunPlan, plain: Path, quantized: Mapping[str, Path]) -> TwinReport | None:
    """Quantize the twin with every engine and compare all with the plain float file.

    Args:
        plan: of the run.
        plain: the plain float file, the base of all drops.
        quantized: engine → its quantized file of the network itself.

    Returns:
        None for a run without a `[stress]` section.
    """
    stage = plan.config.stress
    if stage is None:
        return None
    twin = _twin(plan)
    twins = _quantize(plan, twin)
    drops = _compare(plan, [plain, *quantized.values(), *twins.values()])
    return TwinReport(
        seed=stage.seed,
        strength=stage.strength,
        n=drops.n,
        same_file=_same_file(quantized[ENGINE], twins[ENGINE]),
        rows=_rows(drops, list(quantized)),
    )


def _same_file(network: Path, twin: Path) -> bool:
    """Whether two files are equal, but for the hash of the weights that they say they are from."""
    artifacts = [open_artifact(path) for path in (network, twin)]
    if all(FORMATS[a.manifest.format].graph for a in artifacts):
        graphs = {read_graph(a).model.SerializeToString(deterministic=True) for a in artifacts}
        return len(graphs) == 1
    return artifacts[0].manifest.sha256 == artifacts[1].manifest.sha256


def _twin(plan: RunPlan) -> Path:
    """The weights of the twin."""
    stage = plan.config.stress
    assert stage is not None  # noqa: S101 - the caller has looked
    path = plan.config.out / "twin" / "twin.safetensors"

    def produce() -> list[Path]:
        stress(
            plan.config.model,
            plan.model_options,
            out=path,
            seed=stage.seed,
            strength=stage.strength,
            context=plan.context,
        )
        return [path, sidecar_path(path)]

    plan.stages.stage("twin", TwinInputs.of(plan.checkpoint, stage), produce)
    return path


def _quantize(plan: RunPlan, twin: Path) -> dict[str, Path]:
    """The twin's quantized file of each engine."""
    options = replace(plan.model_options, weights=twin, random_weights=False, reset_head=False)
    subject = Subject(checkpoint=plan.context.checkpoint(plan.config.model, options))
    paths: dict[str, Path] = {}
    for engine, settings in plan.settings.items():

        def produce(settings: QuantizeSettings = settings) -> list[Path]:
            return quantize_subject(subject, settings, twin.parent, plan.context).files

        images = settings_images(plan.context, subject, settings)
        training = qat_training(plan.context, subject, settings)
        inputs = QuantizeInputs.of(subject, settings, images, settings.recipe, training)
        paths[engine] = plan.stages.stage(f"quantize twin, {engine}", inputs, produce)[0]
    return paths


def _compare(plan: RunPlan, artifacts: Sequence[Path]) -> CompareReport:
    """The drops of all files from the first."""
    path = plan.config.out / "twin" / "compare.json"
    subjects = [Subject(artifact=open_artifact(artifact)) for artifact in artifacts]

    def produce() -> list[Path]:
        drops = compared(evaluate_subjects(subjects, plan.data, plan.context))
        write_text(path, drops.model_dump_json(indent=2) + "\n")
        return [path]

    names = [str(artifact.relative_to(plan.config.out)) for artifact in artifacts]
    inputs = EvaluateInputs.of(subjects, names, plan.evaluation)
    plan.stages.stage("evaluate twin", inputs, produce)
    return CompareReport.model_validate_json(path.read_bytes())


def _rows(drops: CompareReport, engines: Sequence[str]) -> tuple[TwinRow, ...]:
    """Each engine on the network, then on its twin."""
    count = len(engines)
    return tuple(
        TwinRow(engine=engine, on=on, comparison=drops.others[i + offset])
        for i, engine in enumerate(engines)
        for on, offset in (("network", 0), ("twin", count))
    )
