"""Make an artifact again from what its manifest says, and compare the bytes."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

from edgenext.commands.context import Context
from edgenext.commands.images import SAMPLE_IMAGES, calibration_images, sample_images
from edgenext.commands.quantize import quantizing_steps
from edgenext.commands.subject import Subject
from edgenext.data import ImageSet
from edgenext.errors import ArtifactError, CheckpointError, DataError, UsageError
from edgenext.export.artifacts import export_graph
from edgenext.export.deployment_graph import Graph, read_graph
from edgenext.export.settings import ExportSettings, resolve
from edgenext.formats.artifact import Artifact, content_files, content_sha256, open_artifact
from edgenext.models.cache import cached_path, find_published
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import ENGINE, DataOptions, ExportOptions, ModelOptions, QuantizeOptions
from edgenext.quantize.opset import graph_opset
from edgenext.quantize.quantized_artifact import quantize_graph
from edgenext.quantize.recipe import Recipe, load_recipe
from edgenext.schema import Calibration, Manifest, Rebuild
from edgenext.schema.validation import validated
from edgenext.targets.scheme import FLOAT

_log = logging.getLogger(__name__)

RANDOM = re.compile(r"random weights, seed (\d+)")
FRESH_HEAD = re.compile(r"fresh head of seed (\d+)$")
UNBUILT = {"manifest_sha256", "tools", "parity", "conversion", "clipping", "file"}
"""Fields of a manifest that depend on the machine or its tools, or say nothing of the file."""


def rebuild_artifact(
    artifact: Artifact,
    model_options: ModelOptions,
    *,
    calib: str | Path | None,
    source: Path | None,
    context: Context,
) -> Rebuild:
    """Make an artifact again in a temporary folder.

    Args:
        artifact: an artifact whose content is that of its manifest.
        model_options: the weights it was made from; those beside it or in the cache unless given.
        calib: the images it was calibrated on, or more that contain them.
        source: the artifact it was quantized from; that beside it unless given.
        context: what was loaded before.

    Raises:
        ArtifactError: a manifest without options, of an earlier version.
        UsageError: weights, an artifact or images are needed and not given.
        CheckpointError, ArtifactError, DataError: they are not those of the manifest.
        EdgenextError: whatever making the file raises.
    """
    start, manifest = time.perf_counter(), artifact.manifest
    if manifest.adopted:
        raise ArtifactError(
            f"{artifact.path.name} was not made by this package from weights",
            "Leave --rebuild out; the file's hash is checked without it",
        )
    if manifest.options is None:
        raise ArtifactError(
            f"the manifest of {artifact.path.name} does not say with which options it was made",
            "An earlier version wrote it: make the file again with this one",
        )
    if manifest.qat:
        raise UsageError(
            f"{artifact.path.name} was trained with --qat {manifest.qat.epochs}: training is not "
            "repeated, since its sums depend on the machine",
            "Leave --rebuild out; the file's hash is checked without it",
        )
    tools = {
        name: (then, now)
        for name, then in manifest.tools.items()
        if (now := _version(name)) != then
    }
    for name, (then, now) in tools.items():
        _log.warning("made with %s %s; here it is %s", name, then, now or "not installed")
    settings = _settings(manifest)
    loading = ("loading weights", "building the graph", "decoding *")
    with (
        context.progress.steps(*loading, *quantizing_steps(settings)),
        TemporaryDirectory(prefix="edgenext-") as folder,
    ):
        graph = _graph(artifact, settings, model_options, source, context)
        images = _images(manifest, calib, context)
        path = Path(folder, manifest.file)
        rebuilt = _make(graph, settings, images, path, manifest, context)
        differs = _differences(artifact, rebuilt)
        if rebuilt.manifest.conversion and manifest.conversion:
            then, now = manifest.conversion.converter, rebuilt.manifest.conversion.converter
            tools |= {"converter": (then, now)} if then != now else {}
    return Rebuild(
        same=not differs,
        differs=tuple(differs),
        tools=tools,
        seconds=round(time.perf_counter() - start, 1),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _settings(manifest: Manifest) -> ExportSettings:
    """The settings that a file was made with."""
    options = manifest.options
    assert options is not None  # noqa: S101 - the caller has looked
    settings = resolve(
        ExportOptions(
            form=manifest.form,
            target=manifest.target,
            batch=options.batch,
            uint8_input=options.uint8_input,
            features_only=options.features_only,
            format=manifest.format,
            format_options=options.format_options,
        ),
        manifest.scheme,
        manifest.engine,
    )
    return replace(settings, form=manifest.form, opset=options.opset)


def _graph(
    artifact: Artifact,
    settings: ExportSettings,
    model_options: ModelOptions,
    source: Path | None,
    context: Context,
) -> Graph:
    """The float graph that the file was made from."""
    m = artifact.manifest
    if "artifact" not in m.source:
        if m.engine == ENGINE and settings.opset and not settings.converter_quantizes:
            opset = graph_opset(_recipe(m), settings.opset)
            settings = replace(settings, opset=opset)
        return context.graph(source_checkpoint(artifact, model_options, context), settings)
    path = source or artifact.path.with_name(m.source["artifact"])
    if not path.exists():
        raise UsageError(
            f"{artifact.path.name} was made from the file {m.source['artifact']}",
            "Give it with --source",
        )
    if content_sha256(path) != m.source["sha256"]:
        raise ArtifactError(
            f"{path} is not the file that {artifact.path.name} was made from: that has the sha256 "
            f"{m.source['sha256'][:12]}…",
            "Give that file with --source",
        )
    return replace(read_graph(open_artifact(path)), target=m.target)


def source_checkpoint(
    artifact: Artifact, model_options: ModelOptions, context: Context
) -> Checkpoint:
    """The weights that an artifact was made from, with the transform and labels of its manifest.

    Raises:
        UsageError: they are not given, not beside the artifact and not in the cache.
        CheckpointError: they are others.
    """
    m = artifact.manifest
    name, sha256 = m.source.get("weights", ""), m.source.get("sha256", "")
    options = _model_options(artifact, name, sha256, model_options)
    checkpoint = context.checkpoint(m.arch if options.random_weights else None, options)
    if checkpoint.arch != m.arch:
        checkpoint = context.checkpoint(m.arch, options)
    if checkpoint.sha256 != sha256:
        raise CheckpointError(
            f"{checkpoint.source} is not what {artifact.path.name} was made from: that is {name}, "
            f"sha256 {sha256[:24]}…",
            "Give those weights with --weights",
        )
    return replace(
        checkpoint,
        eval=m.eval,
        labels=m.labels,
        class_names=m.class_names,
        division=m.division,
    )


def _model_options(
    artifact: Artifact, name: str, sha256: str, options: ModelOptions
) -> ModelOptions:
    """Where the weights of a manifest are."""
    m = artifact.manifest
    backbone = m.is_backbone
    if match := RANDOM.fullmatch(name):
        seed, classes = int(match[1]), m.num_classes
        return ModelOptions(random_weights=True, seed=seed, num_classes=classes, backbone=backbone)
    weights = options.weights
    if weights is None:
        beside, published = artifact.path.with_name(name.split(", ")[0]), find_published(sha256)
        cached = cached_path(published) if published else None
        weights = next((p for p in (beside, cached) if p and p.is_file()), None)
    if weights is None:
        raise UsageError(f"{artifact.path.name} was made from {name}", "Give it with --weights")
    if match := FRESH_HEAD.search(name):
        return ModelOptions(weights, reset_head=True, seed=int(match[1]), num_classes=m.num_classes)
    return ModelOptions(weights, backbone=backbone)


def _images(manifest: Manifest, calib: str | Path | None, context: Context) -> ImageSet:
    """The images that the file was calibrated on; a few to compare on where it was not."""
    subject = _described(manifest)
    if manifest.calibration is None:
        return sample_images(context, subject, None)
    if calib is None:
        raise UsageError(
            f"{manifest.file} was calibrated on {manifest.calibration.subset.data}",
            "Give these images with --calib",
        )
    return calibrated_on(manifest, calib, context)


def _described(manifest: Manifest) -> Subject:
    """An artifact of which only the manifest is at hand."""
    return Subject(artifact=Artifact(Path(manifest.file), manifest))


def calibrated_on(manifest: Manifest, calib: str | Path, context: Context) -> ImageSet:
    """The images of a data set that an artifact was calibrated on, identified by their content.

    Raises:
        DataError: some are missing, or the data set cannot be read.
    """
    recorded = manifest.calibration
    assert recorded is not None  # noqa: S101 - the caller has looked
    subject, subset = _described(manifest), recorded.subset
    drawn = QuantizeOptions(calib=calib, n=subset.n, seed=subset.seed, division=subset.division)
    try:  # cheap: only as many images are read as were drawn
        images = calibration_images(context, subject, drawn)
    except DataError:
        images = None
    if images is None or not _same(images, recorded):
        images = _by_content(subject, recorded, calib, context)
    return replace(images, info=subset)


def _by_content(
    subject: Subject, recorded: Calibration, calib: str | Path, context: Context
) -> ImageSet:
    """The recorded images of a data set of which others were excluded when they were drawn."""
    present = context.content_hashes(calib, "train")
    missing = [digest for digest in recorded.images if digest not in present]
    if missing:
        raise DataError(
            f"{calib} has {len(recorded.images) - len(missing)} of the {len(recorded.images)} "
            f"calibration images of {subject.name}; the first that is missing has the sha256 "
            f"{missing[0]}…",
            "Give the images that it was calibrated on",
        )
    images = context.images(
        DataOptions(calib),
        subject.transform,
        "train",
        num_classes=context.count_classes(calib, "train"),
        exclude=tuple(sorted(present.difference(recorded.images))),
    )
    if not _same(images, recorded):
        raise DataError(
            f"{calib} has the calibration images of {subject.name} in other classes or more than "
            "once",
            "Give the images as they were when it was calibrated",
        )
    return images


def _same(images: ImageSet, recorded: Calibration) -> bool:
    return images.info.sha256 == recorded.subset.sha256 and images.hashes == recorded.images


def _make(
    graph: Graph,
    settings: ExportSettings,
    images: ImageSet,
    path: Path,
    manifest: Manifest,
    context: Context,
) -> Artifact:
    """The file, made by the same functions as the first time."""
    if manifest.scheme == FLOAT:
        sample = images.images[:SAMPLE_IMAGES]
        return export_graph(graph, settings, path, sample, context.progress)
    recipe = _recipe(manifest)
    assert manifest.options is not None  # noqa: S101 - the caller has looked
    return quantize_graph(
        graph,
        settings,
        images,
        path,
        recipe,
        seed=manifest.options.seed,
        progress=context.progress,
    )


def _recipe(manifest: Manifest) -> Recipe:
    """The recipe that a file was quantized by; a baseline has none of its own."""
    if manifest.engine != ENGINE:
        return load_recipe(manifest.target, manifest.scheme)
    return validated(Recipe, manifest.recipe or {}, f"the recipe of {manifest.file}")


def _differences(artifact: Artifact, rebuilt: Artifact) -> list[str]:
    """The files that differ, and the fields of the manifests."""
    files = [_contents(a.path) for a in (artifact, rebuilt)]
    names = sorted(files[0].keys() | files[1].keys())
    differs = [name for name in names if files[0].get(name) != files[1].get(name)]
    if differs:
        return differs
    fields = [a.manifest.model_dump(exclude=UNBUILT) for a in (artifact, rebuilt)]
    return [f"manifest: {name}" for name in fields[0] if fields[0][name] != fields[1][name]]


def _contents(path: Path) -> dict[str, str]:
    return content_files(path) or {path.name: content_sha256(path)}
