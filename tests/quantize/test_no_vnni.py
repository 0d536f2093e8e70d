"""The same file on an x86 CPU without VNNI: real onnxruntime kernels on an emulated Haswell."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from golden import weights as golden

from edgenext.export.onnx import onnx_graph
from edgenext.formats.onnx.session import inference_session
from edgenext.metrics.fidelity import fidelity
from edgenext.models import zoo
from edgenext.quantize.recipe import load_recipe
from edgenext.quantize.static import quantize_static

EMULATOR = shutil.which("qemu-x86_64")
RUN = """
import sys
import numpy, onnxruntime
images, out, *models = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.log_severity_level = 1, 3
results = []
for model in models:
    s = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    logits = [s.run(None, {"input": x[None]})[0] for x in numpy.load(images)]
    results.append(numpy.concatenate(logits))
numpy.savez(out, *results)
"""


@pytest.mark.slow
@pytest.mark.skipif(EMULATOR is None, reason="no qemu-x86_64 (Debian package qemu-user)")
@pytest.mark.skipif(sys.platform != "linux", reason="user-mode emulation needs Linux")
def test_weights_do_not_saturate_without_vnni(tmp_path: Path) -> None:
    net = zoo.create_model("edgenext_xx_small")
    net.load_state_dict(golden.state("edgenext_xx_small"))
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(10, 3, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic").numpy()
    graph = onnx_graph(net.eval(), "convT", (32, 32))
    models = [graph]
    for limit in (64, 127):
        recipe = load_recipe("cpu-onnxruntime")
        nearest = {"rounding": "nearest", "fit": 0.0}
        weights = recipe.weights.model_copy(update={"limit": limit} | nearest)
        recipe = recipe.model_copy(update={"weights": weights})
        models.append(quantize_static(graph, [x[None] for x in images[:8]], recipe).model)
    files = [str(tmp_path / f"{i}.onnx") for i in range(len(models))]
    for model, file in zip(models, files, strict=True):
        onnx.save(model, file)
    np.save(tmp_path / "images.npy", images[8:])
    assert EMULATOR is not None
    command = [EMULATOR, "-cpu", "Haswell", sys.executable, "-c", RUN]
    subprocess.run(
        [*command, str(tmp_path / "images.npy"), str(tmp_path / "out.npz"), *files],
        check=True,
        capture_output=True,
        timeout=500,
    )
    with np.load(tmp_path / "out.npz") as results:
        exact, safe, full = (results[k] for k in results)
    session = inference_session(models[1].SerializeToString(), 1)
    native = np.concatenate([session.run(None, {"input": x[None]})[0] for x in images[8:]])
    assert fidelity(exact, safe).sqnr_db > fidelity(exact, native).sqnr_db - 0.5
    # ±127 saturates, which the recipe's ±64 avoids
    assert fidelity(exact, full).sqnr_db < fidelity(exact, safe).sqnr_db - 3
