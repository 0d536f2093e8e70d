"""The effect of each choice in a recipe of a CPU: one is changed, the others stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from inputs import MODEL, OPENVINO, train_images, val_images

from edgenext import api
from edgenext.commands.quantize import float_graph, resolve_quantization, scheme_images
from edgenext.options import DEFAULT_TARGET, ModelOptions, QuantizeOptions
from edgenext.quantize.quantized_artifact import quantize_graph
from edgenext.quantize.recipe import Recipe, with_gelu

Change = dict[str, dict[str, Any] | str | None]

ONNXRUNTIME: dict[str, Change] = {
    "the recipe": {},
    "streams not equalised": {"equalise": {"streams": False}},
    "norms not equalised": {"equalise": {"norms": False}},
    "nothing equalised": {"equalise": None},
    "weights not fitted": {"weights": {"fit": 0.0}},
    "weights rounded to the nearest": {"weights": {"rounding": "nearest"}},
    "neither fitted nor GPTQ": {"weights": {"fit": 0.0, "rounding": "nearest"}},
    "biases not corrected either": {
        "weights": {"fit": 0.0, "rounding": "nearest", "correct_bias": False}
    },
    "weights in ±127 (not safe without VNNI)": {"weights": {"limit": 127}},
    "GELU in float": {"gate": None},
    "ReLU for GELU (`--gelu relu`)": {"gelu": "relu"},
    "stem in bytes too": {"sites": {"keep_float": {}, "add": ("stem",)}},
    "sums in bytes too": {"sites": {"add": ("residual", "routing")}},
    "ranges by min-max": {"activations": {"method": "minmax"}},
    "ranges by percentile 99.99": {"activations": {"method": "percentile"}},
    "ranges by entropy": {"activations": {"method": "entropy"}},
}
"""Name → changed values by section of the recipe; None removes the section, and `gelu` is what
`--gelu` is."""
IN_OPENVINO: dict[str, Change] = {
    "OpenVINO: the recipe": {},
    "OpenVINO: GELU (`--gelu exact`)": {"gelu": "exact"},
    "OpenVINO: weights not fitted": {"weights": {"fit": 0.0}},
    "OpenVINO: ReLU for GELU (`--gelu relu`)": {"gelu": "relu"},
}
CHANGES = {DEFAULT_TARGET: ONNXRUNTIME, OPENVINO: IN_OPENVINO}
"""The changes of each target's recipe."""


def changed(base: Recipe, change: Change) -> Recipe:
    """A recipe with changed sections."""
    update: dict[str, Any] = {}
    for section, values in change.items():
        if isinstance(values, str):
            return with_gelu(base, values)
        old = getattr(base, section)
        if values is None:
            update[section] = None
            continue
        values = dict(values)
        if section == "sites":
            values["quantize"] = (*old.quantize, *values.pop("add", ()))
        update[section] = old.model_copy(update=values)
    return base.model_copy(update=update)


def ablation(data: Path, weights: Path, folder: Path) -> list[dict[str, Any]]:
    """SQNR, agreement and drop of the recipes with each change."""
    context, model = api.Context(), ModelOptions(weights)
    subject = context.subject(MODEL, model)
    files: dict[str, str] = {}
    for target, changes in CHANGES.items():
        settings = resolve_quantization(QuantizeOptions(target=target, calib=train_images(data)))
        images = scheme_images(context, subject, settings)
        graph, _ = float_graph(context, subject, settings)
        export = replace(settings.export, form=graph.form)
        for name, change in changes.items():
            path = folder / f"ablation{len(files)}.onnx"
            recipe = changed(settings.recipe, change)
            files[name] = str(quantize_graph(graph, export, images, path, recipe).path)
    report = api.compare(MODEL, list(files.values()), val_images(data), model, context=context)
    return [
        {"name": name, "n": report.n} | other.model_dump(mode="json")
        for name, other in zip(files, report.others, strict=True)
    ]
