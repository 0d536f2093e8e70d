"""Quantizing a model or artifact: its float graph, images and recipe brought together."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.errors import UsageError
from edgenext.evaluation import calibration_images, images_for, sample_set
from edgenext.export.formats import file_name, require_scheme, resolved
from edgenext.options import EXPORT, MODEL, ExportOptions, ModelOptions, QuantizeOptions
from edgenext.progress import Progress, quiet
from edgenext.subjects import Subject, load, open_subject

if TYPE_CHECKING:
    from edgenext.artifact import Artifact
    from edgenext.data import ImageSet
    from edgenext.export.artifacts import Graph
    from edgenext.quantize.recipe import Recipe
    from edgenext.schema import SensitivityReport

_log = logging.getLogger(__name__)


def quantize(
    what: str | None,
    how: QuantizeOptions,
    options: ModelOptions = MODEL,
    export_options: ExportOptions = EXPORT,
    *,
    out: Path = Path(),
    progress: Progress = quiet,
) -> Artifact:
    """Quantize a model or a float artifact after training: see `edgenext quantize`."""
    from edgenext.quantize.artifacts import quantize_graph, require_engine
    from edgenext.quantize.recipe import with_integer_io

    recipe = recipe_of(how)
    require_engine(how.engine, recipe.scheme)
    if export_options.told.get("integer_io"):
        recipe = with_integer_io(recipe)
    export_options = resolved(replace(export_options, target=recipe.target))
    require_scheme(export_options.file_format, recipe.scheme, recipe.target)
    if export_options.opset and export_options.file_format == "tensorrt":
        recipe = recipe.model_copy(update={"opset": min(recipe.opset, export_options.opset)})
    subject = open_subject(what, options) if what else Subject(checkpoint=load(None, options))
    images = scheme_images(subject, how, recipe.scheme, progress)
    graph, stem = float_graph(subject, how, recipe, export_options)
    chosen = replace(export_options, form=graph.form)
    name = file_name(stem, recipe.scheme, chosen, how.engine)
    return quantize_graph(
        graph,
        images,
        out / name,
        recipe,
        engine=how.engine,
        seed=how.seed,
        file_format=export_options.file_format,
        told=export_options.told,
        progress=partial(progress, "calibrating"),
    )


def recipe_of(how: QuantizeOptions) -> Recipe:
    """The recipe that the options name: the target's and scheme's, or a file."""
    from edgenext.quantize.recipe import load_recipe

    return load_recipe(how.target, how.scheme, how.recipe)


def scheme_images(
    subject: Subject, how: QuantizeOptions, scheme: str, progress: Progress = quiet
) -> ImageSet:
    """The images a scheme is calibrated on; a few to compare on where it needs none.

    Raises:
        UsageError: a scheme that needs calibration images, and none given.
    """
    from edgenext.quantize.recipe import STATIC

    if scheme not in STATIC:
        if how.calib:
            _log.warning("%s needs no calibration: the images are only compared on", scheme)
        return sample_set(subject, how.calib or None)
    if not how.calib:
        raise UsageError(
            f"{scheme} needs calibration images",
            "Give --calib a folder or zip of images like those the model will see",
        )
    return calibration_images(subject, how, progress)


def float_graph(
    subject: Subject, how: QuantizeOptions, recipe: Recipe, export_options: ExportOptions
) -> tuple[Graph, str]:
    """The float graph a quantizer starts from, and the stem of what it is called."""
    from edgenext.export.artifacts import graph_of, read_graph
    from edgenext.graph.targets import form_for
    from edgenext.quantize.artifacts import form_of

    if subject.artifact:
        graph = read_graph(subject.artifact)
        return replace(graph, target=recipe.target), subject.name.replace("-fp32", "")
    assert subject.checkpoint  # noqa: S101 - a subject is one or the other
    form = form_of(how.engine, export_options.form or form_for(recipe.target))
    opset = export_options.opset or recipe.opset
    chosen = replace(export_options, form=form, target=recipe.target, opset=opset)
    made = graph_of(subject.checkpoint, chosen)
    return made, f"{subject.name}-{subject.transform.size}"


def sensitivity(
    what: str,
    how: QuantizeOptions,
    options: ModelOptions = MODEL,
    *,
    data: str | Path | None = None,
    limit: int = 64,
    site: str = "*",
    progress: Progress = quiet,
) -> SensitivityReport:
    """What quantizing each site costs: see `edgenext sensitivity`.

    Without labelled `data` the judged images come from the calibration data; the two sets share
    no image.
    """
    from edgenext.files import cache_folder
    from edgenext.quantize.artifacts import PreparedBatches
    from edgenext.quantize.sensitivity import Question, require_sites
    from edgenext.quantize.sensitivity import sensitivity as run
    from edgenext.schema import SensitivityReport

    recipe = recipe_of(how)
    require_sites(recipe)
    subject = open_subject(what, options)
    calibration = scheme_images(subject, how, recipe.scheme, progress)
    if data is None:
        others = replace(how, n=limit, exclude=(*how.exclude, *calibration.hashes))
        images, labels = calibration_images(subject, others, progress), None
    else:
        images = images_for(subject, data, "val", limit=limit, seed=how.seed, progress=progress)
        labels = images.labels
    graph, _ = float_graph(subject, how, recipe, EXPORT)
    batches = [PreparedBatches(graph, part.images) for part in (calibration, images)]
    base, rows = run(
        Question(graph.model, recipe, batches[0], batches[1], labels, how.seed),
        cache_folder("sensitivity"),
        site,
        partial(progress, "quantizing site by site"),
    )
    return SensitivityReport(
        model=subject.name,
        sha256=subject.sha256,
        target=recipe.target,
        scheme=recipe.scheme,
        n=len(images),
        recipe=base,
        rows=tuple(rows),
        images=images.info,
        calibration=calibration.info,
    )
