"""TFLite in INT8 by ai-edge-quantizer, from the float file of litert-torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import torch
from ai_edge_quantizer import quantizer, recipe
from maker import batches, network


def static(job: dict[str, Any]) -> str:
    """Weights and activations in 8 bits, by its ready-made recipe."""
    plain = _float_file(job)
    quantizing = quantizer.Quantizer(str(plain), recipe.static_wi8_ai8())
    name = next(iter(_inputs(plain)))
    samples = [{name: np.ascontiguousarray(image)} for image in batches(job)]
    result = quantizing.quantize(quantizing.calibrate({"serving_default": samples}))
    result.export_model(job["out"], overwrite=True)
    return "litert_torch.convert(network); Quantizer(file, recipe.static_wi8_ai8())"


def dynamic(job: dict[str, Any]) -> str:
    """Weights in 8 bits, ranges of activations at each inference, by its ready-made recipe."""
    plain = _float_file(job)
    quantizing = quantizer.Quantizer(str(plain), recipe.dynamic_wi8_afp32())
    quantizing.quantize().export_model(job["out"], overwrite=True)
    return "litert_torch.convert(network); Quantizer(file, recipe.dynamic_wi8_afp32())"


def _float_file(job: dict[str, Any]) -> Path:
    """The float TFLite file of the network."""
    path = Path(job["out"]).with_suffix(".float.tflite")
    with torch.no_grad():
        converted = litert_torch.convert(network(job), (torch.from_numpy(batches(job)[0]),))
    converted.export(str(path))
    return path


def _inputs(path: Path) -> dict[str, Any]:
    """The inputs of the file's signature by name."""
    from ai_edge_litert.interpreter import Interpreter

    inputs: dict[str, Any] = Interpreter(str(path)).get_signature_runner().get_input_details()
    return inputs
