"""Qualcomm's compiler takes the files of its recipes, for every architecture."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from golden import weights as golden
from vendored import artifact_of, qualcomm

from edgenext.export.onnx import onnx_graph
from edgenext.formats.artifact import Artifact
from edgenext.formats.check import check_artifact
from edgenext.formats.runtimes import open_session
from edgenext.metrics.fidelity import fidelity
from edgenext.models import zoo
from edgenext.quantize.recipe import load_recipe
from edgenext.quantize.static import quantize_static
from edgenext.targets.target import form_for

SIZE = (64, 64)
CASES = [
    (arch, scheme)
    for arch in ("edgenext_xx_small", "edgenext_xx_small_bn_hs")
    for scheme in ("w8a8-static", "w8a16-static")
]
"""Architectures and schemes; the larger networks have the same operators: a campaign."""
LARGE = [
    pytest.param(arch, scheme, marks=pytest.mark.campaign)
    for arch in zoo.arch_table()
    for scheme in ("w8a8-static", "w8a16-static")
    if "xx_small" not in arch
]
LEAST_DB = {"w8a8-static": 18.0, "w8a16-static": 35.0}
"""Least SQNR of the NPU's logits against the CPU's from the same file; a wrong result has 4 dB."""


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


def quantized(arch: str, target: str, scheme: str, folder: Path) -> Artifact:
    recipe = load_recipe(target, scheme)
    graph = onnx_graph(network(arch), form_for(target), SIZE, opset=recipe.opset)
    # the compiler does not see how weights are rounded: to nearest is quickest
    nearest = recipe.weights.model_copy(update={"rounding": "nearest", "fit": 0.0})
    recipe = recipe.model_copy(update={"weights": nearest})
    model = quantize_static(graph, [x[None] for x in pictures()[:8]], recipe).model
    path = folder / f"{arch}-{target}-{scheme}.onnx"
    return artifact_of(model, path, scheme=scheme, target=target)


def unfused(artifact: Artifact) -> ort.InferenceSession:
    """The file on the CPU without fusion, in float: integer kernels would saturate without VNNI."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(artifact.path), options, ["CPUExecutionProvider"])


@qualcomm
@pytest.mark.slow
@pytest.mark.parametrize(("arch", "scheme"), [*CASES, *LARGE])
def test_the_npu_runs_every_node_and_agrees(
    arch: str, scheme: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    artifact = quantized(arch, "htp", scheme, tmp_path)
    report = check_artifact(artifact)
    assert report.accepted and report.delegated, report.refusals or report.errors
    npu, cpu = open_session(artifact, target="htp"), unfused(artifact)
    images = pictures()[8:10]
    with torch.no_grad():
        expected = network(arch)(torch.from_numpy(images)).numpy()
    simulated = np.concatenate([npu.infer(x[None]) for x in images])
    host = np.concatenate([cpu.run(None, {"input": x[None]})[0] for x in images])
    record_property("sqnr_db", round(fidelity(expected, simulated).sqnr_db, 1))
    assert fidelity(expected, simulated).sqnr_db > (21 if "xx_small" in arch else 15)  # 24.5
    # an accepted graph may still be computed wrongly
    assert fidelity(host, simulated).sqnr_db > LEAST_DB[scheme]
