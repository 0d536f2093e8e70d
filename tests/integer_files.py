"""TFLite files in integers of the golden networks, and their expected results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import torch
from golden import weights as golden
from numpy.typing import NDArray
from vendored import artifact_of

from edgenext.export.onnx import onnx_graph
from edgenext.formats.artifact import Artifact
from edgenext.formats.ethos_u.convert import convert
from edgenext.formats.onnx.session import inference_session
from edgenext.models import zoo
from edgenext.quantize.recipe import Recipe, load_recipe
from edgenext.quantize.static import quantize_static

XXS = "edgenext_xx_small"
SIZE = (64, 64)
RESOLVERS = ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF")
"""LiteRT's kernels: with XNNPACK, without it, and the reference kernels."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class IntegerFile:
    """A file, the Q/DQ graph it was converted from, and the float graph before quantization."""

    path: Path
    quantized: onnx.ModelProto
    reference: onnx.ModelProto


@cache
def pictures() -> Array:
    """Twelve smooth images, N×C×H×W; the first eight are for calibration."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(12, 3, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic")
    return np.asarray(smooth.numpy(), np.float32)


@cache
def float_graph(arch: str) -> onnx.ModelProto:
    """The golden network's deployment graph."""
    net = zoo.create_model(arch)
    net.load_state_dict(golden.state(arch))
    return onnx_graph(net.eval().requires_grad_(False), "convT", SIZE)


def integer_file(folder: Path, arch: str = XXS, recipe: Recipe | None = None) -> IntegerFile:
    """Quantize with the target's recipe, or another, with rounding to nearest, and convert."""
    recipe = recipe or load_recipe("ethos-u")
    assert recipe.weights
    nearest = recipe.weights.model_copy(update={"rounding": "nearest", "fit": 0.0})
    recipe = recipe.model_copy(update={"weights": nearest})
    result = quantize_static(float_graph(arch), [x[None] for x in pictures()[:8]], recipe)
    graph, samples = folder / "graph.onnx", folder / "samples.npy"
    onnx.save(result.model, graph)
    np.save(samples, pictures()[:8].transpose(0, 2, 3, 1))
    path = folder / f"{arch}.tflite"
    convert(
        {"graph": str(graph), "samples": str(samples), "out": str(path), "scheme": "w8a8-static"}
    )
    return IntegerFile(path, result.model, result.reference)


def onnx_logits(model: onnx.ModelProto, images: Array) -> Array:
    """Logits by onnxruntime."""
    session = inference_session(model.SerializeToString(), 1)
    return np.concatenate([session.run(None, {"input": x[None]})[0] for x in images])


def file_logits(path: Path, images: Array, resolver: str = "AUTO") -> Array:
    """Logits by LiteRT, dequantized."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kind = getattr(OpResolverType, resolver)
    loaded = Interpreter(str(path), experimental_op_resolver_type=kind, num_threads=1)
    loaded.allocate_tensors()
    (source,), (result,) = loaded.get_input_details(), loaded.get_output_details()
    rows = []
    for x in images.transpose(0, 2, 3, 1):
        scale, zero = source["quantization"]
        levels = np.clip(np.round(x[None] / scale) + zero, -128, 127)
        loaded.set_tensor(source["index"], levels.astype(source["dtype"]))
        loaded.invoke()
        scale, zero = result["quantization"]
        rows.append((loaded.get_tensor(result["index"]).astype(np.float32) - zero) * scale)
    return np.concatenate(rows)


def artifact_from(path: Path) -> Artifact:
    """The file with a manifest beside it."""
    content = path.read_bytes()
    copy = path.with_name(f"it-{path.name}")
    return artifact_of(content, copy, scheme="w8a8-static", target="ethos-u", file_format="tflite")
