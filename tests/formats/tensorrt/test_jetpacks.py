"""Files for each JetPack generation are such as its TensorRT takes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from golden import weights as golden
from onnx import numpy_helper
from vendored import artifact_of, nvidia

from edgenext.errors import UsageError
from edgenext.export.onnx import onnx_graph
from edgenext.formats.check import check_artifact
from edgenext.formats.format import Choices
from edgenext.formats.tensorrt.jetpack import JETPACKS, resolve, with_float_weights
from edgenext.graph.ranges import input_range
from edgenext.models import zoo
from edgenext.quantize import half_precision
from edgenext.quantize.recipe import load_recipe
from edgenext.quantize.static import quantize_static
from edgenext.schema import EvalTransform
from edgenext.targets.target import TARGETS

ARCHS = list(zoo.arch_table())
SCHEMES = ["fp32", "fp16", "w8a8-static"]
XXS = "edgenext_xx_small"


@cache
def exported(arch: str, generation: str, scheme: str, pixels: bool = False) -> onnx.ModelProto:
    """A file for a generation, by its row in `jetpack.toml`."""
    jetpack = JETPACKS[generation]
    network = zoo.create_model(arch)
    network.load_state_dict(golden.state(arch))
    graph = onnx_graph(
        network.eval(),
        jetpack.form,
        (64, 64),
        opset=jetpack.opset,
        pixels=EvalTransform() if pixels else None,
        cast_first=TARGETS["jetson"].cast_first,
    )
    if scheme == "fp32":
        return graph
    recipe = load_recipe("jetson", scheme)
    recipe = recipe.model_copy(update={"opset": min(recipe.opset, jetpack.opset)})
    if scheme == "fp16":
        return half_precision.to_fp16(graph, input_range(EvalTransform())).model
    nearest = recipe.weights.model_copy(update={"rounding": "nearest", "fit": 0.0})
    recipe = recipe.model_copy(update={"weights": nearest})
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 1, 3, 64, 64, generator=generator).numpy()
    if pixels:
        images = torch.randint(256, (2, 1, 64, 64, 3), generator=generator).numpy().astype(np.uint8)
    model = quantize_static(graph, list(images), recipe).model
    return with_float_weights(model) if jetpack.float_weights else model


def zero_points(model: onnx.ModelProto, operator: str) -> list[np.ndarray]:
    constants = {t.name: t for t in model.graph.initializer}
    nodes = (n for n in model.graph.node if n.op_type == operator)
    return [numpy_helper.to_array(constants[n.input[2]]) for n in nodes]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("generation", JETPACKS)
def test_opset_and_operators_are_those_of_the_generation(generation: str, scheme: str) -> None:
    for arch in (XXS, "edgenext_xx_small_bn_hs"):
        model = exported(arch, generation, scheme)
        onnx.checker.check_model(model, full_check=True)
        (domain,) = model.opset_import
        assert (domain.domain, domain.version) == ("", JETPACKS[generation].opset)
        used = {node.op_type for node in model.graph.node}
        assert used.isdisjoint(JETPACKS[generation].lacks)


@pytest.mark.parametrize("generation", JETPACKS)
def test_integers_are_signed_and_centred_and_biases_float(generation: str) -> None:
    model = exported(XXS, generation, "w8a8-static")
    activations = zero_points(model, "QuantizeLinear")
    both = zero_points(model, "DequantizeLinear")
    weights = 50 if JETPACKS[generation].float_weights else 0
    assert len(activations) == 50 + weights and len(both) == 100
    assert {z.dtype for z in both} == {np.dtype(np.int8)}
    assert not any(z.any() for z in both)
    assert sum(z.ndim == 1 for z in both) == 50  # a scale for each channel of the weights
    constants = {t.name: t.data_type for t in model.graph.initializer}
    layers = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm")]
    assert {constants[n.input[2]] for n in layers} == {onnx.TensorProto.FLOAT}
    stored = {
        constants[n.input[0]]
        for n in model.graph.node
        if n.op_type in ("QuantizeLinear", "DequantizeLinear") and n.input[0] in constants
    }
    expected = onnx.TensorProto.FLOAT if weights else onnx.TensorProto.INT8
    assert stored == {expected}


PAIRS = [
    pytest.param(
        arch,
        generation,
        SCHEMES[(i + j) % len(SCHEMES)],
        marks=() if arch == XXS else pytest.mark.campaign,
    )
    for i, arch in enumerate(ARCHS)
    for j, generation in enumerate(JETPACKS)
]
"""Every pair of architecture, generation and scheme; not every three of them."""


@nvidia
@pytest.mark.slow
@pytest.mark.parametrize(("arch", "generation", "scheme"), PAIRS)
def test_nvidias_parser_and_builder_take_it(
    arch: str, generation: str, scheme: str, tmp_path: Path
) -> None:
    model = exported(arch, generation, scheme)
    artifact = artifact_of(model, tmp_path / "it.onnx", scheme=scheme, file_format="tensorrt")
    report = check_artifact(artifact, "jetson", jetpack=generation)
    assert report.accepted and report.delegated, report.errors or report.refusals


@nvidia
@pytest.mark.parametrize("scheme", ["fp32", "w8a8-static"])
def test_nvidias_parser_takes_pixels(scheme: str, tmp_path: Path) -> None:
    """It refuses uint8 that anything but a Cast reads, and unsigned zero points."""
    artifact = artifact_of(
        exported(XXS, "6", scheme, pixels=True), tmp_path / "it.onnx", file_format="tensorrt"
    )
    report = check_artifact(artifact, "jetson", jetpack="6")
    assert report.accepted and report.delegated, report.errors or report.refusals


def test_a_generation_without_uint8_refuses_pixels() -> None:
    with pytest.raises(UsageError, match=r"TensorRT 8.2 of JetPack 4 has no uint8 inputs"):
        resolve(Choices(options={"jetpack": "4"}, pixels=True))
    assert resolve(Choices(options={"jetpack": "5"}, pixels=True)).pixels


@nvidia
def test_nvidia_refuses_an_operator_that_it_does_not_have(tmp_path: Path) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(exported(XXS, "6", "fp32"))
    next(n for n in model.graph.node if n.op_type == "Erf").op_type = "Bernoulli"
    report = check_artifact(artifact_of(model, tmp_path / "it.onnx"), "jetson")
    assert not report.accepted
    (refusal,) = report.refusals
    assert (refusal.operator, refusal.reason) == ("Bernoulli", "unsupported node")
    assert "Erf" in refusal.names[0]
