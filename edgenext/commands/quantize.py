"""Quantize a model or a float artifact after training."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from edgenext.commands.context import LOADING, Context
from edgenext.commands.images import calibration_images, sample_images, training_images
from edgenext.commands.subject import Subject, of_kind
from edgenext.data import ImageSet
from edgenext.errors import ArtifactError, UsageError
from edgenext.export.artifacts import file_steps
from edgenext.export.deployment_graph import Graph, read_graph
from edgenext.export.settings import ExportSettings, resolve
from edgenext.formats.artifact import Artifact
from edgenext.formats.format import require_features
from edgenext.formats.isolated_session import require_no_crash
from edgenext.options import (
    DEFAULT_FORMAT,
    ENGINE,
    EXPORT,
    MODEL,
    ExportOptions,
    ModelOptions,
    QuantizeOptions,
)
from edgenext.quantize.baseline_rows import BASELINES
from edgenext.quantize.baselines import form_of, require_engine
from edgenext.quantize.opset import graph_opset
from edgenext.quantize.qat import TRAINING, QatTraining, require_trainable
from edgenext.quantize.quantized_artifact import quantize_graph
from edgenext.quantize.recipe import Recipe, load_recipe, with_gelu, with_integer_io
from edgenext.targets.scheme import FLOAT
from edgenext.targets.target import require_target

LEAST_OPSET = 13
"""The first with a scale for each channel in Q/DQ."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuantizeSettings:
    """Quantize options, resolved once: the recipe, the file, the calibration."""

    recipe: Recipe
    export: ExportSettings
    options: QuantizeOptions


def quantize(
    subject: str | Path | None,
    quantize_options: QuantizeOptions,
    model_options: ModelOptions = MODEL,
    export_options: ExportOptions = EXPORT,
    *,
    out: Path = Path(),
    context: Context | None = None,
) -> Artifact:
    """Quantize a model or a float artifact after training: see `edgenext quantize`.

    Args:
        subject: a model's name or a float artifact; None for `edgenext_small`, or the model that
            the weights fit.
        quantize_options: scheme, target, engine and calibration images.
        model_options: where the weights come from and how images are prepared.
        export_options: format of the file; batch and input of its graph.
        out: folder of the file and its manifest.
        context: what was loaded before.

    Raises:
        UsageError: a scheme that the target, format or engine does not make; no calibration images.
        ArtifactError: a graph that cannot be quantized.
        DataError: calibration images that cannot be used.
        ParityError: the file does not agree with its float network; nothing is written.
        OutputError: the folder cannot be written.

    >>> model = ModelOptions(random_weights=True, num_classes=10, size=32)
    >>> options = QuantizeOptions(calib="digits", n=16)
    >>> artifact = quantize("edgenext_xx_small", options, model)
    >>> artifact.manifest.scheme, artifact.manifest.calibration.subset.n
    ('w8a8-static', 16)
    """
    context = context or Context()
    settings = resolve_quantization(quantize_options, export_options)
    if quantize_options.calib and not settings.export.calibrated:
        scheme = settings.recipe.scheme
        _log.warning("%s needs no calibration: the images are only compared on", scheme)
    model_options = of_kind(model_options, export_options)
    with context.progress.steps(*LOADING, *quantizing_steps(settings.export)):
        return quantize_subject(context.subject(subject, model_options), settings, out, context)


def quantizing_steps(settings: ExportSettings) -> tuple[str, ...]:
    """The tasks of making a file from a float graph, in order."""
    own = settings.engine == ENGINE and not settings.converter_quantizes
    static = ("calibrating", "rounding weights") if own and settings.calibrated else ()
    training = (f"{TRAINING}*",) if settings.qat else ()
    return (*static, *training, *file_steps(settings))


def resolve_quantization(
    quantize_options: QuantizeOptions, export_options: ExportOptions = EXPORT
) -> QuantizeSettings:
    """The recipe and the file that the options mean.

    Raises:
        UsageError: a target, scheme, engine or format that does not exist or does not go together.
        InputError: a recipe file that cannot be read.
    """
    options = quantize_options
    recipe = load_recipe(options.target, options.scheme, options.recipe)
    require_engine(options.engine, recipe.scheme)
    recipe = with_gelu(recipe, options.gelu)
    export_options = replace(export_options, target=recipe.target)
    settings = resolve(export_options, recipe.scheme, options.engine, default_opset=recipe.opset)
    if options.gelu:
        settings = _with_gelu(settings, options.gelu)
    if options.qat:
        converted = settings.converter_quantizes
        require_trainable(options.qat, recipe.scheme, options.engine, converted=converted)
        settings = replace(settings, qat=True)
    if settings.integer_io:
        recipe = with_integer_io(recipe)
    if settings.opset and (settings.opset_limit or export_options.opset):
        recipe = recipe.model_copy(update={"opset": min(recipe.opset, settings.opset)})
    form = form_of(options.engine, settings.form)
    settings = replace(settings, form=form, opset=settings.opset or recipe.opset)
    return QuantizeSettings(recipe, settings, options)


def _with_gelu(settings: ExportSettings, gelu: str) -> ExportSettings:
    """The settings of a file whose name says which function is in GELU's place.

    Raises:
        UsageError: another quantizer than this package's makes it.
    """
    if settings.converter_quantizes or settings.engine != ENGINE:
        other = settings.format.title if settings.converter_quantizes else settings.engine
        raise UsageError(f"{other} quantizes by itself: --gelu is not for it", "Leave --gelu out")
    return replace(settings, variant=(*settings.variant, f"gelu-{gelu}"))


def own_quantization(options: QuantizeOptions) -> QuantizeSettings:
    """The recipe and the file of a target, in its own format; see `resolve_quantization`."""
    own = ExportOptions(format=require_target(options.target).format)
    return resolve_quantization(options, own)


def quantize_subject(
    subject: Subject, settings: QuantizeSettings, out: Path, context: Context
) -> Artifact:
    """Quantize a model or artifact into a folder; see `quantize`."""
    _require_quantizable(subject, settings.export)
    images = scheme_images(context, subject, settings)
    training = qat_training(context, subject, settings)
    return quantize_on(subject, settings, images, out, context, training)


def quantize_on(
    subject: Subject,
    settings: QuantizeSettings,
    images: ImageSet,
    out: Path,
    context: Context,
    training: QatTraining | None = None,
) -> Artifact:
    """The same with images that are loaded: those of `scheme_images` and `qat_training`."""
    graph, stem = float_graph(context, subject, settings)
    export = export_settings(subject, graph, settings)
    return quantize_graph(
        graph,
        export,
        images,
        out / export.file_name(stem),
        settings.recipe,
        training=training,
        seed=settings.options.seed,
        progress=context.progress,
    )


def _require_quantizable(subject: Subject, settings: ExportSettings) -> None:
    """Refuse an adopted file that no quantizer here can start from.

    Raises:
        ArtifactError: it is no float ONNX graph.
        UsageError: an engine that needs this package's own graph.
    """
    if subject.artifact is None or subject.artifact.manifest.adopted is None:
        return
    name, manifest = subject.artifact.path, subject.artifact.manifest
    engines = [engine for engine, row in BASELINES.items() if row.foreign]
    if settings.engine not in engines:
        raise UsageError(
            f"{name} is not of this package: --engine {settings.engine} needs its folded graph and "
            "sites",
            f"Use --engine {' or '.join(engines)}",
        )
    if (manifest.format, manifest.scheme) != (DEFAULT_FORMAT, FLOAT):
        raise ArtifactError(
            f"{name} is {manifest.format} in {manifest.scheme}: quantizers start from ONNX in fp32",
            "Adopt that file",
        )
    if (manifest.opset or 0) < LEAST_OPSET:
        raise ArtifactError(
            f"{name} has opset {manifest.opset}, and quantizers need {LEAST_OPSET}",
            "Export it again, or use onnx.version_converter, and adopt that file",
        )


def export_settings(subject: Subject, graph: Graph, settings: QuantizeSettings) -> ExportSettings:
    """The settings of a file that is made from a graph; an artifact's graph is as it is.

    Raises:
        UsageError: options of a graph that the artifact's graph does not have.
    """
    export = replace(settings.export, form=graph.form)
    if subject.artifact is None:
        return export
    batch, name = graph.input.shape[0], subject.artifact.path
    if export.features_only and not subject.is_backbone:
        raise UsageError(f"{name} is not a backbone", "Export it with --features")
    if subject.is_backbone:
        require_features(export.format)
        if export.integer_io:
            raise UsageError("a backbone's feature maps are floats", "Leave out --integer-io")
        # the artifact's own name says it
        export = replace(export, features_only=True)
    if export.pixels and not graph.pixels:
        raise UsageError(f"{name} takes no pixels", "Export it with --uint8-input")
    if export.batch != 1 and (export.batch or -1) != batch:
        raise UsageError(
            f"{name} has a batch of {batch if batch > 0 else 'any size'}, not of "
            f"{export.batch or 'any size'}",
            f"Export it with --batch {export.batch or 'dynamic'}",
        )
    return replace(export, variant=())  # the artifact's own name says it


def scheme_images(context: Context, subject: Subject, settings: QuantizeSettings) -> ImageSet:
    """The images that a scheme is calibrated on; a few to compare on where it needs none.

    Raises:
        UsageError: a scheme that needs calibration images, and none given.
    """
    scheme, calib = settings.recipe.scheme, settings.options.calib
    if not calib and settings.export.calibrated:
        raise UsageError(
            f"{scheme} needs calibration images",
            "Give --calib a folder or zip of images like those the model will see",
        )
    return settings_images(context, subject, settings)


def qat_training(
    context: Context, subject: Subject, settings: QuantizeSettings
) -> QatTraining | None:
    """What the quantized graph is trained on, and how; None where it is not trained."""
    options = settings.options
    if options.qat is None:
        return None
    return QatTraining(options.qat, training_images(context, subject, options), options.seed)


def settings_images(context: Context, subject: Subject, settings: QuantizeSettings) -> ImageSet:
    """The images that settings mean; see `scheme_images`."""
    if settings.export.calibrated:
        return calibration_images(context, subject, settings.options)
    return sample_images(context, subject, settings.options.calib or None)


def float_graph(
    context: Context, subject: Subject, settings: QuantizeSettings
) -> tuple[Graph, str]:
    """The float graph that a quantizer starts from, and the stem of its files' names."""
    if subject.artifact:
        require_no_crash(subject.artifact)
        graph = read_graph(subject.artifact)
        return replace(graph, target=settings.export.target), subject.name.replace("-fp32", "")
    assert subject.checkpoint  # noqa: S101 - a subject is one or the other
    export = settings.export
    if export.engine == ENGINE and export.opset and not export.converter_quantizes:
        export = replace(export, opset=graph_opset(settings.recipe, export.opset))
    graph = context.graph(subject.checkpoint, export)
    return graph, f"{subject.name}-{subject.transform.size}"
