"""The Python API: what the commands do, as functions.

    from edgenext import api
    artifact = api.export("edgenext_xx_small", api.ModelOptions(weights=path))

Everything heavy is imported when it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgenext.errors import DataError, UsageError, unknown_name
from edgenext.models.checkpoint import load_checkpoint as load_checkpoint
from edgenext.models.zoo import create_model as create_model
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions

if TYPE_CHECKING:
    from edgenext.artifact import Artifact
    from edgenext.data import ImageSet
    from edgenext.models.checkpoint import Checkpoint
    from edgenext.runtimes.base import Logits
    from edgenext.schema import BenchReport, CompareReport, EvalReport
    from edgenext.subjects import Subject
    from edgenext.train import TrainRecipe, TrainResult

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done and how much there is."""

MODEL, EXPORT = ModelOptions(), ExportOptions()
"""Defaults."""

FORMATS = ("onnx",)
MAX_STRENGTH = 16
"""Beyond, float32 no longer computes the same function."""
SAMPLE_IMAGES = 16
"""Images an export is compared on."""


def _quiet(what: str, done: int, total: int) -> None:
    """No progress."""


def images_for(
    subject: Subject,
    data: str | Path,
    role: Literal["train", "val"],
    *,
    limit: int | None = None,
    seed: int = 0,
    exclude: Sequence[str] = (),
    progress: Progress = _quiet,
) -> ImageSet:
    """The images of a data set as a network or artifact sees them."""
    from edgenext.data import load_images

    num_classes, labels = subject.classes
    return load_images(
        data,
        subject.transform,
        role=role,
        num_classes=num_classes,
        labels=labels,
        limit=limit,
        seed=seed,
        exclude=exclude,
        progress=partial(progress, f"decoding {data}"),
    )


def sample_images(subject: Subject, data: str | Path | None) -> ImageSet:
    """A few real images to compare an export on: of `data`, else the embedded digits."""
    from edgenext.data import digits, load_images

    if data is not None:
        return images_for(subject, data, "val", limit=SAMPLE_IMAGES)
    return load_images(
        digits.NAME,
        subject.transform,
        role="val",
        num_classes=digits.NUM_CLASSES,
        limit=SAMPLE_IMAGES,
    )


def export(
    model: str | None = None,
    options: ModelOptions = MODEL,
    how: ExportOptions = EXPORT,
    *,
    out: Path = Path(),
    data: str | Path | None = None,
    export_format: str = "onnx",
) -> Artifact:
    """Export a model: see `edgenext export`.

    Args:
        model: name, None for `edgenext_small` or the one the weights fit.
        options: where the weights come from and how images are prepared.
        how: form, batch, opset and input of the graph.
        out: folder of the file and its manifest.
        data: images to compare on; the embedded digits unless given.
        export_format: one of `FORMATS`.
    """
    from edgenext.export.artifacts import export_onnx
    from edgenext.subjects import Subject, load

    if export_format not in FORMATS:
        raise unknown_name("format", export_format, FORMATS)
    checkpoint = load(model, options)
    images = sample_images(Subject(checkpoint=checkpoint), data).images
    plain = "-plain" if how.form == "naive" else ""
    features = "-features" if how.features_only else ""
    name = f"{checkpoint.name}-{checkpoint.eval.size}{features}-fp32{plain}.onnx"
    return export_onnx(checkpoint, out / name, images, how)


def quantize(
    what: str,
    how: QuantizeOptions,
    options: ModelOptions = MODEL,
    export_options: ExportOptions = EXPORT,
    *,
    out: Path = Path(),
    progress: Progress = _quiet,
) -> Artifact:
    """Quantize a model or a float artifact after training: see `edgenext quantize`."""
    from dataclasses import replace

    from edgenext.data import count_classes, load_images
    from edgenext.export.artifacts import graph_of, read_graph
    from edgenext.quantize.artifacts import quantize_graph, require_engine
    from edgenext.quantize.recipe import load_recipe
    from edgenext.subjects import open_subject

    require_engine(how.engine)
    recipe = load_recipe(how.target, how.scheme, how.recipe)
    subject = open_subject(what, options)
    images = load_images(
        how.calib,
        subject.transform,
        role="train",
        num_classes=count_classes(how.calib, "train"),  # any classes will do: no label is read
        limit=how.n,
        seed=how.seed,
        exclude=how.exclude,
        progress=partial(progress, f"decoding {how.calib}"),
    )
    if subject.artifact:
        graph = read_graph(subject.artifact)
        stem = subject.name.replace("-fp32", "")
    else:
        assert subject.checkpoint  # noqa: S101 - a subject is one or the other
        if how.engine == "onnxruntime":
            export_options = replace(export_options, form="naive")
        graph = graph_of(subject.checkpoint, export_options)
        stem = f"{subject.name}-{subject.transform.size}"
    suffix = "" if how.engine == "edgenext" else f"-{how.engine}"
    return quantize_graph(
        graph,
        images,
        out / f"{stem}-{recipe.scheme}{suffix}.onnx",
        recipe,
        engine=how.engine,
        seed=how.seed,
        progress=lambda done: progress("calibrating", done, len(images)),
    )


@dataclass(frozen=True)
class Measured:
    """Logits of several subjects on the same images, in the order given."""

    names: tuple[str, ...]
    subjects: tuple[Subject, ...]
    logits: tuple[Logits, ...]
    images: ImageSet
    runtimes: tuple[str, ...]


def measure(
    whats: Sequence[str],
    data: str | Path,
    options: ModelOptions = MODEL,
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress = _quiet,
) -> Measured:
    """Run models and artifacts on a data set, each through its own runtime.

    Raises:
        OverlapError: an artifact was calibrated on some of the images.
    """
    from edgenext.artifact import distinct_names
    from edgenext.benchmark.accuracy import evaluate as run
    from edgenext.data import require_disjoint
    from edgenext.subjects import open_subject

    subjects = tuple(open_subject(w, options) for w in whats)
    names = tuple(
        distinct_names([s.artifact.path if s.artifact else Path(s.name) for s in subjects])
    )
    logits, runtimes = [], []
    images: ImageSet | None = None
    for name, subject in zip(names, subjects, strict=True):
        if images is None or images.transform != subject.transform:
            found = images_for(subject, data, "val", limit=limit, seed=seed, progress=progress)
            if images is not None and found.hashes != images.hashes:
                raise DataError(f"{name} does not see the same images of {data} as {names[0]}")
            images = found
        require_disjoint(images, subject.calibration)
        session = subject.session()
        runtimes.append(session.runtime)
        logits.append(run(session, images, partial(progress, f"evaluating {name}")))
    if images is None:
        raise UsageError("nothing to evaluate", "Name a model or an artifact")
    return Measured(names, subjects, tuple(logits), images, tuple(runtimes))


def scores(measured: Measured) -> EvalReport:
    """Top-1, top-5 and loss of everything measured."""
    from edgenext.benchmark.accuracy import score
    from edgenext.schema import EvalReport

    rows = zip(measured.names, measured.subjects, measured.logits, measured.runtimes, strict=True)
    return EvalReport(
        results=tuple(
            score(
                name,
                logits,
                measured.images.labels,
                sha256=subject.sha256,
                scheme=subject.scheme,
                runtime=runtime,
                data=measured.images.info,
            )
            for name, subject, logits, runtime in rows
        )
    )


def comparison(measured: Measured) -> CompareReport:
    """Everything measured against the first: the paired drop."""
    from edgenext.benchmark.accuracy import accuracy, compare
    from edgenext.schema import CompareReport

    labels, base = measured.images.labels, measured.logits[0]
    others = list(zip(measured.names, measured.subjects, measured.logits, strict=True))[1:]
    if not others:
        raise UsageError("one artifact alone cannot be compared", "Name the base, then the others")
    return CompareReport(
        n=len(labels),
        base=accuracy(measured.names[0], base, labels, sha256=measured.subjects[0].sha256),
        others=tuple(
            compare(
                name,
                base,
                logits,
                labels,
                base_name=measured.names[0],
                sha256=subject.sha256,
                scheme=subject.scheme,
            )
            for name, subject, logits in others
        ),
        data=measured.images.info,
    )


def evaluate(
    whats: Sequence[str],
    data: str | Path,
    options: ModelOptions = MODEL,
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress = _quiet,
) -> EvalReport:
    """Top-1, top-5 and loss of models and artifacts: see `edgenext eval`."""
    return scores(measure(whats, data, options, limit=limit, seed=seed, progress=progress))


def compare(
    base: str,
    others: Sequence[str],
    data: str | Path,
    options: ModelOptions = MODEL,
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress = _quiet,
) -> CompareReport:
    """The paired drop of others against a base: see `edgenext compare`."""
    whats = [base, *others]
    return comparison(measure(whats, data, options, limit=limit, seed=seed, progress=progress))


def bench(
    paths: Sequence[Path],
    *,
    device: str = "cpu",
    threads: int = 1,
    batch: int = 1,
    rounds: int = 30,
    progress: Progress = _quiet,
) -> BenchReport:
    """Latency of artifacts, interleaved: see `edgenext bench`."""
    from edgenext.artifact import open_artifact
    from edgenext.benchmark.latency import bench as run

    return run(
        [open_artifact(path) for path in paths],
        device=device,
        threads=threads,
        batch=batch,
        rounds=rounds,
        progress=partial(progress, "benchmarking"),
    )


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
    progress: Progress = _quiet,
) -> Training:
    """The network and images of a training run.

    Without weights the network starts fresh, with as many classes as the data has; with weights
    it goes on from them.
    """
    from dataclasses import replace

    from edgenext.data import count_classes
    from edgenext.subjects import Subject, load

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
    training: Training, out: Path, *, resume: bool = False, progress: Progress = _quiet
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
    from edgenext.subjects import load

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
