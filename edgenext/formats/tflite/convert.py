"""ONNX deployment graph → TFLite through litert-torch, channels last.

Q/DQ become the converter's quantized types, so that its integer operators have the scales that our
quantizer chose. ai-edge-quantizer adds float16 weights and dynamic ranges afterwards.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.formats.tflite.int4 import pack_int4

if TYPE_CHECKING:
    import torch
    from torch import fx

LAYERS = ("CONV_2D", "FULLY_CONNECTED")


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Write a .tflite file.

    Args:
        job: `graph` and `out` are paths, `scheme` is a quantization scheme or `fp32`;
            `quantized_graph` says whether the graph has Q/DQ; `features` are the names of a
            backbone's outputs, empty for a classifier; `samples` is the path of calibration inputs,
            N×H×W×3 float32, for w8a16-static.
    """
    import onnx
    import torch

    from edgenext.formats.torch_graph import example_input, torch_graph

    model = onnx.load(job["graph"])
    graph = torch_graph(model, written_norms=True, float_weights=True)
    example = example_input(model)
    module: torch.nn.Module = graph
    if job.get("features"):
        module = _maps_channels_last(graph)
    if example.dtype != torch.uint8:  # graphs that take pixels have channels last already
        module, example = _channels_last(module), example.permute(0, 2, 3, 1).contiguous()
    content = _convert(module, example, job["quantized_graph"])
    if job["scheme"] == "fp16":
        content = _half_weights(content)
    elif job["scheme"] == "w4a8-static":
        content = pack_int4(content)
    elif job["scheme"] == "w8a8-dynamic":
        content = _dynamic(content)
    elif job["scheme"] == "w8a16-static":
        content = _wide_activations(content, np.load(job["samples"], mmap_mode="r"))
    Path(job["out"]).write_bytes(content)
    return {"tool": f"litert-torch {version('litert-torch')}"}


def _convert(module: torch.nn.Module, example: torch.Tensor, static: bool) -> bytes:
    import litert_torch
    from litert_torch.quantize.pt2e_quantizer import (
        PT2EQuantizer,
        get_symmetric_quantization_config,
    )
    from litert_torch.quantize.quant_config import QuantConfig

    config = None
    if static:  # the quantizer does not run: it makes the converter treat Q/DQ as static
        quantizer = PT2EQuantizer().set_global(get_symmetric_quantization_config())
        config = QuantConfig(pt2e_quantizer=quantizer)
    edge = litert_torch.convert(module.eval(), (example,), quant_config=config)
    content: bytes = edge.model_content()
    return content


def _channels_last(graph: torch.nn.Module) -> torch.nn.Module:
    import torch

    class ChannelsLast(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = graph

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.network(image.permute(0, 3, 1, 2))
            return result

    # the file's tensors are named after the class: these names stay, wherever it is defined
    ChannelsLast.__module__ = "edgenext.export.tflite"
    ChannelsLast.__qualname__ = "_channels_last.<locals>.ChannelsLast"
    return ChannelsLast()


def _maps_channels_last(graph: fx.GraphModule) -> torch.nn.Module:
    """A backbone whose feature maps are N×H×W×C."""
    import torch

    class Backbone(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = graph

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(maps.permute(0, 2, 3, 1) for maps in self.network(image))

    Backbone.__module__ = "edgenext.export.tflite"
    Backbone.__qualname__ = "_maps_channels_last.<locals>.Backbone"
    return Backbone()


def _half_weights(content: bytes) -> bytes:
    """Weights in float16, which the runtime widens when it loads the file."""
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=half,
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    return _quantized(content, ("*",), config, AlgorithmName.FLOAT_CASTING)


def _dynamic(content: bytes) -> bytes:
    """int8 weights; the ranges of layers' inputs are computed at run time."""
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    weights = qtyping.TensorQuantizationConfig(
        num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE
    )
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.INTEGER
    )
    return _quantized(content, LAYERS, config, AlgorithmName.MIN_MAX_UNIFORM_QUANT)


def _wide_activations(content: bytes, samples: NDArray[Any]) -> bytes:
    """int16 activations and int8 weights in the dense layers; GELU has no 16-bit kernel.

    Ranges are the minimum and maximum over all samples: the library's own moving average would
    clip them.
    """
    from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe_manager

    def union(current: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        if not current:
            return new
        return {
            "min": np.minimum(current["min"], new["min"]),
            "max": np.maximum(current["max"], new["max"]),
        }

    recipes = recipe_manager.RecipeManager()
    for name in LAYERS:
        recipes.add_static_config(
            ".*", qtyping.TFLOperationName(name), activation_num_bits=16, weight_num_bits=8
        )
    calibration = calibrator.Calibrator(bytearray(content), qsv_update_func=union)
    inputs = [{"args_0": np.ascontiguousarray(sample[None])} for sample in samples]
    calibration.calibrate({"serving_default": inputs}, recipes)
    quantization = quantizer.Quantizer(bytearray(content), recipes.get_quantization_recipe())
    return bytes(quantization.quantize(calibration.get_model_qsvs()).quantized_model)


def _quantized(content: bytes, operators: tuple[str, ...], config: Any, algorithm: Any) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer, recipe_manager

    recipes = recipe_manager.RecipeManager()
    for name in operators:
        recipes.add_quantization_config(
            ".*", qtyping.TFLOperationName(name), config, algorithm_key=algorithm
        )
    quantization = quantizer.Quantizer(bytearray(content), recipes.get_quantization_recipe())
    return bytes(quantization.quantize().quantized_model)
