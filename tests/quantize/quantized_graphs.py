"""Deployment graphs with golden weights, images to run them on, and quantization in one line."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import onnx
import torch
from golden import weights as golden

from edgenext.export.onnx import onnx_graph
from edgenext.formats.onnx.session import inference_session
from edgenext.metrics.fidelity import fidelity
from edgenext.models import zoo
from edgenext.models.network import EdgeNeXt
from edgenext.quantize.recipe import Recipe, load_recipe
from edgenext.quantize.static import QuantizedGraph, quantize_static

SIZE = (64, 64)
XXS = "edgenext_xx_small"


@cache
def network(arch: str = XXS) -> EdgeNeXt:
    net = zoo.create_model(arch)
    net.load_state_dict(golden.state(arch))
    return net.eval().requires_grad_(False)


@cache
def float_graph(arch: str = XXS, form: str = "convT") -> onnx.ModelProto:
    return onnx_graph(network(arch), form, SIZE)


@cache
def pictures(seed: int, n: int) -> np.ndarray:
    """Smooth random images, normalised, N×3×H×W."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, 3, 8, 8, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic")
    return (fine + 0.2 * torch.randn(n, 3, *SIZE, generator=generator)).numpy()


def batches(n: int = 24) -> list[np.ndarray]:
    return [x[None] for x in pictures(1, n)]


def recipe(
    scheme: str = "w8a8-static",
    target: str = "cpu-onnxruntime",
    **changes: dict[str, object] | None,
) -> Recipe:
    """A packaged recipe with sections changed, or removed."""
    base = load_recipe(target, scheme)
    sections = {
        name: None if change is None else getattr(base, name).model_copy(update=change)
        for name, change in changes.items()
    }
    return base.model_copy(update=sections)


def logits(model: onnx.ModelProto) -> np.ndarray:
    session = inference_session(model.SerializeToString(), 1)
    return np.concatenate([session.run(None, {"input": x[None]})[0] for x in pictures(2, 48)])


def sqnr(reference: onnx.ModelProto, model: onnx.ModelProto) -> float:
    """SQNR in dB of a graph's logits against the reference's."""
    return fidelity(logits(reference), logits(model)).sqnr_db


@cache
def quantized(arch: str = XXS) -> QuantizedGraph:
    """A graph quantized by the default recipe."""
    return quantize_static(float_graph(arch), batches(), recipe())


def optimised(model: onnx.ModelProto, tmp_path: object) -> Counter[str]:
    """Operators that onnxruntime runs after its optimisations."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = f"{tmp_path}/optimised.onnx"
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(n.op_type for n in onnx.load(options.optimized_model_filepath).graph.node)
