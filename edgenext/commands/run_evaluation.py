"""The evaluation of a run: on all images, or until they decide its budget."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from edgenext.commands.compare import compared
from edgenext.commands.evaluate import Evaluation, evaluate_subjects
from edgenext.commands.inputs import DecisionInputs, EvaluateInputs, SequenceInputs
from edgenext.commands.run_plan import RunPlan
from edgenext.commands.run_predictions import keep_images, keep_logits, keep_predictions
from edgenext.commands.sequence import Stopping, evaluate_until_decided
from edgenext.commands.stages import key
from edgenext.commands.subject import Subject
from edgenext.formats.artifact import open_artifact
from edgenext.metrics.accuracy import eval_report
from edgenext.schema import CompareReport, EvalReport, Record
from edgenext.schema.key import Inputs
from edgenext.system.files import write_text

SHARDS = "shards"
"""The folder of logits in a run's folder while its evaluation is not finished."""


def evaluate_files(plan: RunPlan, artifacts: Sequence[Path]) -> tuple[EvalReport, CompareReport]:
    """Scores of the network and all artifacts, and the drops from the first file."""
    subjects = [Subject(artifact=open_artifact(path)) for path in artifacts]
    subjects.append(plan.subject)
    names = [path.name for path in artifacts]
    keeps = plan.config.keep_logits
    inputs: Inputs = EvaluateInputs.of(subjects, names, plan.evaluation, keep_logits=keeps)
    evaluate = partial(_on_all_images, plan, subjects)
    if plan.config.stops_early:
        stopping = Stopping(plan.config.budget, plan.config.quantize.seed)
        sequence = SequenceInputs.of(subjects, names, plan.evaluation, stopping.seed)
        inputs = DecisionInputs.of(sequence, stopping.budget, keep_logits=keeps)
        # one interrupted goes on only with the same files, images and order
        folder = plan.config.out / SHARDS / key(sequence)[:16]
        evaluate = partial(_until_decided, plan, subjects, stopping, folder)

    def produce() -> list[Path]:
        files = _write(plan, *evaluate())
        shutil.rmtree(plan.config.out / SHARDS, ignore_errors=True)
        return files

    scores, drops, *_ = plan.stages.stage("evaluate", inputs, produce)
    return (
        EvalReport.model_validate_json(scores.read_bytes()),
        CompareReport.model_validate_json(drops.read_bytes()),
    )


def _on_all_images(plan: RunPlan, subjects: Sequence[Subject]) -> tuple[Evaluation, CompareReport]:
    evaluation = evaluate_subjects(subjects, plan.data, plan.context)
    return evaluation, compared(evaluation)


def _until_decided(
    plan: RunPlan, subjects: Sequence[Subject], stopping: Stopping, folder: Path
) -> tuple[Evaluation, CompareReport]:
    result = evaluate_until_decided(subjects, plan.data, plan.context, stopping, folder=folder)
    return result.evaluation, result.applied(compared(result.evaluation))


def _write(plan: RunPlan, evaluation: Evaluation, drops: CompareReport) -> list[Path]:
    out = plan.config.out
    return [
        _record(out / "eval.json", eval_report(evaluation.predictions, evaluation.images)),
        _record(out / "compare.json", drops),
        keep_predictions(out, evaluation),
        keep_images(out, evaluation, plan.subject.shown_names),
        *(keep_logits(out, evaluation) if plan.config.keep_logits else ()),
    ]


def _record(path: Path, record: Record) -> Path:
    write_text(path, record.model_dump_json(indent=2) + "\n")
    return path
