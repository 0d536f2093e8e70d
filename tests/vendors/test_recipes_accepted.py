"""The vendors' own compilers take what our recipes make, for every architecture."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import nvidia
import onnx
import pytest
import qualcomm
import torch
from golden import weights as golden

from edgenext.export.onnx import onnx_graph
from edgenext.graph.targets import form_for
from edgenext.models import zoo
from edgenext.quantize import cast
from edgenext.quantize.engine import quantize_static
from edgenext.quantize.recipe import load_recipe
from edgenext.runtimes.fidelity import fidelity

SIZE = (64, 64)
ARCHS = list(zoo.arch_table())


@cache
def pictures() -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(12, 3, 8, 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic").numpy()


@cache
def network(arch: str) -> torch.nn.Module:
    net = zoo.create_model(arch)
    net.load_state_dict(golden.state(arch))
    return net.eval().requires_grad_(False)


def made(arch: str, target: str, scheme: str, folder: Path) -> Path:
    recipe = load_recipe(target, scheme)
    graph = onnx_graph(network(arch), form_for(target), SIZE, opset=recipe.opset)
    if scheme == "fp16":
        model = cast.to_fp16(graph, recipe)
    else:
        # how weights are rounded is nothing a compiler sees: the nearest is quickest
        nearest = recipe.weights.model_copy(update={"rounding": "nearest", "fit": 0.0})
        recipe = recipe.model_copy(update={"weights": nearest})
        model = quantize_static(graph, [x[None] for x in pictures()[:8]], recipe).model
    path = folder / f"{arch}-{target}-{scheme}.onnx"
    onnx.save(model, path)
    return path


@nvidia.needed
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["w8a8-static", "fp16"])
@pytest.mark.parametrize("arch", ARCHS)
def test_nvidias_parser_and_builder_take_it(arch: str, scheme: str, tmp_path: Path) -> None:
    assert nvidia.build(made(arch, "jetson", scheme, tmp_path)) == []


@qualcomm.needed
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["w8a8-static", "w8a16-static"])
@pytest.mark.parametrize("arch", ARCHS)
def test_the_npu_runs_every_node_and_rightly(arch: str, scheme: str, tmp_path: Path) -> None:
    session = qualcomm.HtpSession(made(arch, "htp", scheme, tmp_path))
    assert set(session.nodes) == {qualcomm.PROVIDER}, session.nodes
    images = pictures()[8:10]
    with torch.no_grad():
        expected = network(arch)(torch.from_numpy(images)).numpy()
    # a graph that is taken whole may still be computed wrong: 4 dB was seen
    assert fidelity(expected, session.run(images)).sqnr_db > 15
