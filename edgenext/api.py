"""The Python API: what the commands do, as functions.

    from edgenext import api
    artifact = api.export("edgenext_xx_small", api.ModelOptions(weights=path))

Everything heavy is imported when it is needed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.errors import UsageError
from edgenext.evaluation import (
    SAMPLE_IMAGES,
    comparison,
    images_for,
    measure,
    sample_set,
    scores,
)
from edgenext.export.formats import file_name, require_scheme, resolved
from edgenext.measurement import bench as bench
from edgenext.measurement import bundle as bundle
from edgenext.measurement import imported as imported
from edgenext.measurement import is_carried as is_carried
from edgenext.models.checkpoint import load_checkpoint as load_checkpoint
from edgenext.models.zoo import create_model as create_model
from edgenext.options import EXPORT, MODEL, BenchOptions, ExportOptions, ModelOptions
from edgenext.options import QuantizeOptions as QuantizeOptions
from edgenext.progress import Progress, quiet
from edgenext.quantization import quantize as quantize
from edgenext.quantization import sensitivity as sensitivity
from edgenext.subjects import Subject, load, open_subject

if TYPE_CHECKING:
    from edgenext.artifact import Artifact
    from edgenext.data import ImageSet
    from edgenext.models.checkpoint import Checkpoint
    from edgenext.schema import (
        CheckReport,
        CompareReport,
        DiffReport,
        EvalReport,
    )
    from edgenext.train import TrainRecipe, TrainResult

_log = logging.getLogger(__name__)

MAX_STRENGTH = 16
"""Beyond, float32 no longer computes the same function."""


def export(
    model: str | None = None,
    options: ModelOptions = MODEL,
    how: ExportOptions = EXPORT,
    *,
    out: Path = Path(),
    data: str | Path | None = None,
) -> Artifact:
    """Export a model to a float file: see `edgenext export`.

    Args:
        model: name, None for `edgenext_small` or the one the weights fit.
        options: where the weights come from and how images are prepared.
        how: format of the file; form, batch, opset and input of its graph.
        out: folder of the file and its manifest.
        data: images to compare on; the embedded digits unless given.
    """
    from edgenext.export.artifacts import export_network

    how = resolved(how)
    require_scheme(how.file_format, "fp32", how.target)
    if how.told.get("integer_io"):
        raise UsageError("a float file has no integer inputs", "Give --scheme w8a8-static")
    checkpoint = load(model, options)
    images = sample_set(Subject(checkpoint=checkpoint), data).images
    stem = f"{checkpoint.name}-{checkpoint.eval.size}"
    return export_network(checkpoint, out / file_name(stem, "fp32", how), images, how)


def tuned(
    model: str | None,
    how: ExportOptions,
    options: ModelOptions = MODEL,
    *,
    rounds: int = 10,
) -> ExportOptions:
    """The same options with the form that is fastest on this machine.

    Raises:
        UsageError: a format that does not run here on its own.
    """
    from tempfile import TemporaryDirectory

    from edgenext.graph.targets import FORMS

    how = resolved(how)
    if how.file_format != "onnx":
        raise UsageError(
            f"the form of {how.file_format} cannot be measured here", "Leave out --tune"
        )
    forms = [form for form in FORMS if form != "naive"]
    with TemporaryDirectory(prefix="edgenext-") as folder:
        files = [
            export(model, options, replace(how, form=form), out=Path(folder, form)).path
            for form in forms
        ]
        times = [result.p50_ms for result in bench(files, how=BenchOptions(rounds=rounds)).results]
    fastest = forms[times.index(min(times))]
    said = ", ".join(f"{form} {ms:.2f} ms" for form, ms in zip(forms, times, strict=True))
    _log.warning("%s: %s is taken", said, fastest)
    return replace(how, form=fastest)


def evaluate(
    whats: Sequence[str],
    data: str | Path,
    options: ModelOptions = MODEL,
    *,
    limit: int | None = None,
    seed: int = 0,
    target: str = "",
    progress: Progress = quiet,
) -> EvalReport:
    """Top-1, top-5 and loss of models and artifacts: see `edgenext eval`.

    With `target` artifacts run in that target's runtime, not in their own: `htp` is the NPU's
    simulator.
    """
    return scores(
        measure(
            whats,
            data,
            options,
            limit=limit,
            seed=seed,
            targets=[target] * len(whats),
            progress=progress,
        )
    )


def compare(
    base: str,
    others: Sequence[str],
    data: str | Path,
    options: ModelOptions = MODEL,
    *,
    limit: int | None = None,
    seed: int = 0,
    target: str = "",
    progress: Progress = quiet,
) -> CompareReport:
    """The paired drop of others against a base: see `edgenext compare`.

    With `target` the others run in that target's runtime; the base runs in its own.
    """
    whats, targets = [base, *others], ["", *[target] * len(others)]
    return comparison(
        measure(whats, data, options, limit=limit, seed=seed, targets=targets, progress=progress)
    )


def diff(
    a: str,
    b: str,
    data: str | Path,
    options: ModelOptions = MODEL,
    *,
    limit: int | None = SAMPLE_IMAGES,
    seed: int = 0,
    threshold_db: float = 30.0,
    progress: Progress = quiet,
) -> DiffReport:
    """Where two models or artifacts part, site by site: see `edgenext diff`."""
    from edgenext.divergence import compare_sites, open_sides

    if not math.isfinite(threshold_db):
        raise UsageError(f"{threshold_db} dB is no threshold", "Use a number, such as 30")
    subjects = (open_subject(a, options), open_subject(b, options))
    sides = open_sides(*subjects)
    images = [
        images_for(subject, data, "val", limit=limit, seed=seed, progress=progress)
        for subject in subjects
    ]
    return compare_sites(
        *sides, (images[0], images[1]), threshold_db, partial(progress, "comparing site by site")
    )


def check(path: Path, target: str = "", **options: str) -> CheckReport:
    """Whether a vendor's compiler takes an artifact, and where every operator lands.

    See `edgenext check`.

    Args:
        path: of the artifact.
        target: whose compiler is asked; the artifact's own target unless given.
        options: of that compiler, such as `soc`.

    Raises:
        ArtifactError: no artifact, or a format that the target does not take.
        UsageError: no such target, or an option that it does not have.
        MissingDependencyError: the vendor's package is not installed.
        RuntimeFailedError: the vendor's code died.
    """
    from edgenext.artifact import open_artifact
    from edgenext.devices.compilers import check as ask

    return ask(open_artifact(path), target, **options)


@dataclass(frozen=True)
class Training:
    """Everything a training run starts from."""

    checkpoint: Checkpoint
    recipe: TrainRecipe
    images: ImageSet
    val: ImageSet
    name: str


def prepare_training(
    model: str,
    data: str | Path,
    recipe: TrainRecipe,
    options: ModelOptions = MODEL,
    *,
    progress: Progress = quiet,
) -> Training:
    """The network and images of a training run.

    Without weights the network starts fresh, with as many classes as the data has; with weights
    it goes on from them.
    """
    from edgenext.data import count_classes

    if options.weights is None:
        classes = options.num_classes or count_classes(data, "train")
        options = replace(options, random_weights=True, num_classes=classes, seed=recipe.seed)
    else:
        recipe = recipe.model_copy(update={"from_scratch": False})
    checkpoint = load(model, options)
    subject = Subject(checkpoint=checkpoint)
    val = images_for(subject, data, "val", progress=progress)
    images = images_for(subject, data, "train", exclude=val.hashes, progress=progress)
    return Training(checkpoint, recipe, images, val, f"{model}_{Path(data).stem}")


def train(
    training: Training, out: Path, *, resume: bool = False, progress: Progress = quiet
) -> TrainResult:
    """Train a network: see `edgenext train`."""
    from edgenext.train.loop import train as run

    return run(
        training.checkpoint.network(drop_path=training.recipe.drop_path),
        training.images,
        training.val,
        recipe=training.recipe,
        out=out,
        resume=resume,
        progress=lambda report: progress("training", report.epoch, report.epochs),
        name=training.name,
    )


def stress(
    model: str | None,
    out: Path,
    options: ModelOptions = MODEL,
    *,
    seed: int = 0,
    strength: float = 3.0,
) -> Path:
    """Write an exactly rescaled twin of a model, and its sidecar: see `edgenext stress`."""
    import json

    import safetensors.torch

    from edgenext.files import atomic_path
    from edgenext.graph.stress import stress as rescale
    from edgenext.models.sidecar import sidecar_path

    if out.suffix != ".safetensors":
        raise UsageError(f"a twin is written as .safetensors, not {out.name}", "Change -o")
    if not 0 <= strength <= MAX_STRENGTH:
        raise UsageError(f"no channel can be scaled by 2^{strength:g}", f"Use 0 to {MAX_STRENGTH}")
    checkpoint = load(model, options)
    twin = rescale(checkpoint.network(), seed, strength)
    facts = {
        "arch": checkpoint.arch,
        "num_classes": checkpoint.num_classes,
        "eval": checkpoint.eval.model_dump(mode="json"),
        "labels": checkpoint.labels,
        "stressed": {"from": checkpoint.sha256, "seed": seed, "strength": strength},
    }
    state = {k: v.contiguous() for k, v in twin.state_dict().items()}
    with atomic_path(sidecar_path(out)) as beside, atomic_path(out) as temporary:
        beside.write_text(json.dumps(facts, indent=1) + "\n")
        temporary.write_bytes(safetensors.torch.save(state, {"format": "pt"}))
    return out


def report(run_dir: Path, out: Path | None = None, *, budget: float = 1.0) -> list[Path]:
    """Write the report of a run folder: see `edgenext report`."""
    from edgenext.report import write_report

    if not (math.isfinite(budget) and budget >= 0):
        raise UsageError(f"a drop of at most {budget} points is no budget", "Use 0 or more")
    return write_report(run_dir, out, budget=budget)
