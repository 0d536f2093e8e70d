"""What each choice of the cpu-onnxruntime recipe brings: it is taken out, all others stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accuracy import MODEL, _train

from edgenext import api
from edgenext.commands import quantize as quantization
from edgenext.formats.artifact import Artifact
from edgenext.options import ModelOptions, QuantizeOptions
from edgenext.quantize.quantized_artifact import quantize_graph
from edgenext.quantize.recipe import Recipe

CHANGES: dict[str, dict[str, dict[str, object] | None]] = {
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
    "stem in bytes too": {"sites": {"keep_float": {}, "add": ("stem",)}},
    "sums in bytes too": {"sites": {"add": ("residual", "routing")}},
    "ranges by min-max": {"activations": {"method": "minmax"}},
    "ranges by percentile 99.99": {"activations": {"method": "percentile"}},
    "ranges by entropy": {"activations": {"method": "entropy"}},
}
"""Name → sections of the recipe with what is changed in them; None takes a section out."""


def changed(base: Recipe, change: dict[str, dict[str, object] | None]) -> Recipe:
    """A recipe with sections changed."""
    update: dict[str, Any] = {}
    for section, values in change.items():
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
    """SQNR, agreement and drop of the recipe with each choice taken out."""
    from edgenext.commands.subject import open_subject

    options, how = ModelOptions(weights), QuantizeOptions(calib=_train(data))
    base = quantization.recipe_of(how)
    subject = open_subject(MODEL, options)
    images = quantization.scheme_images(subject, how, base.scheme)
    made: list[Artifact] = []
    for i, change in enumerate(CHANGES.values()):
        recipe = changed(base, change)
        graph, _ = quantization.float_graph(subject, how, recipe, api.ExportOptions())
        path = folder / f"ablation{i}.onnx"
        made.append(quantize_graph(graph, images, path, recipe))
    val = str(data / "tiny-imagenet-val.zip")
    report = api.compare(MODEL, [str(a.path) for a in made], val, options)
    return [
        {"name": name, "n": report.n} | other.model_dump(mode="json")
        for name, other in zip(CHANGES, report.others, strict=True)
    ]
