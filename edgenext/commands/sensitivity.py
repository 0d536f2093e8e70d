"""What quantizing each site of a network costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgenext.commands.context import LOADING, Context
from edgenext.commands.images import calibration_images, labelled_images
from edgenext.commands.inputs import SiteRowInputs
from edgenext.commands.quantize import float_graph, resolve_quantization, scheme_images
from edgenext.commands.stages import key
from edgenext.options import MODEL, DataOptions, ModelOptions, QuantizeOptions
from edgenext.quantize.batches import ImageBatches
from edgenext.quantize.sensitivity import (
    SITE_BY_SITE,
    SensitivityInputs,
    require_sites,
    site_sensitivity,
)
from edgenext.schema import SensitivityReport
from edgenext.system.files import cache_folder


def sensitivity(
    subject: str | Path | None,
    quantize_options: QuantizeOptions,
    model_options: ModelOptions = MODEL,
    *,
    data: str | Path | None = None,
    limit: int = 64,
    site: str = "*",
    context: Context | None = None,
) -> SensitivityReport:
    """What quantizing each site costs: see `edgenext sensitivity`.

    Args:
        subject: a model's name or a float artifact; None for the model that the weights fit.
        quantize_options: scheme, target and calibration images.
        model_options: where the weights come from and how images are prepared.
        data: labelled images to judge on; others of the calibration data unless given. The two
            sets share no image.
        limit: images to judge on.
        site: a site's name, or a pattern of names.
        context: what was loaded before.

    Raises:
        UsageError: a scheme without sites, or a pattern that fits none.

    >>> options = QuantizeOptions(calib="digits", n=8)
    >>> file = "edgenext_xx_small-32-fp32.onnx"
    >>> report = sensitivity(file, options, limit=8, site="stages.0.0.*")
    >>> [row.site for row in report.rows][:2]
    ['stages.0.0.dwconv', 'stages.0.0.norm']
    """
    context = context or Context()
    with context.progress.steps(*LOADING, SITE_BY_SITE):
        return _sensitivity(subject, quantize_options, model_options, data, limit, site, context)


def _sensitivity(
    subject: str | Path | None,
    quantize_options: QuantizeOptions,
    model_options: ModelOptions,
    data: str | Path | None,
    limit: int,
    site: str,
    context: Context,
) -> SensitivityReport:
    settings = resolve_quantization(quantize_options)
    recipe = settings.recipe
    require_sites(recipe)
    network = context.subject(subject, model_options)
    network.require_logits()
    network.require_sites("sensitivity")
    calibration = scheme_images(context, network, settings)
    seed = quantize_options.seed
    if data is None:
        exclude = (*quantize_options.exclude, *calibration.hashes)
        others = replace(quantize_options, n=limit, exclude=exclude)
        images, labels = calibration_images(context, network, others), None
    else:
        images = labelled_images(context, network, DataOptions(data, limit, seed))
        labels = images.labels
    graph, _ = float_graph(context, network, settings)
    batches = [ImageBatches(graph, part.images) for part in (calibration, images)]
    decides = SiteRowInputs.of(network, settings, calibration, images, labelled=data is not None)
    base, rows = site_sensitivity(
        SensitivityInputs(graph.model, recipe, batches[0], batches[1], labels, seed),
        cache_folder("sensitivity") / f"{key(decides)[:24]}.json",
        site,
        context.progress,
    )
    return SensitivityReport(
        model=network.name,
        sha256=network.sha256,
        target=recipe.target,
        scheme=recipe.scheme,
        n=len(images),
        recipe=base,
        rows=tuple(rows),
        images=images.info,
        calibration=calibration.info,
    )
