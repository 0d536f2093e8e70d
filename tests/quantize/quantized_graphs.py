"""Deployment graphs with golden weights, pictures to run them on, and quantizing in one line."""

from __future__ import annotations

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
from edgenext.quantize.engine import Quantized, quantize_static
from edgenext.quantize.recipe import Recipe, load_recipe

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
    """A packaged recipe with sections changed, or taken out."""
    base = load_recipe(target, scheme)
    sections = {
        name: None if new is None else getattr(base, name).model_copy(update=new)
        for name, new in changes.items()
    }
    return base.model_copy(update=sections)


def logits(model: onnx.ModelProto) -> np.ndarray:
    session = inference_session(model.SerializeToString(), 1)
    return np.concatenate([session.run(None, {"input": x[None]})[0] for x in pictures(2, 48)])


def db(reference: onnx.ModelProto, model: onnx.ModelProto) -> float:
    """SQNR of a graph's logits against those of another."""
    return fidelity(logits(reference), logits(model)).sqnr_db


@cache
def quantized(arch: str = XXS) -> Quantized:
    """By the default recipe."""
    return quantize_static(float_graph(arch), batches(), recipe())
