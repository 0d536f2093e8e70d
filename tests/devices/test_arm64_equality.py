"""An INT8 file gives the same results on an arm64 CPU as on this machine.

Exact arithmetic must be equal to the bit: an integer convolution multiplies and adds integers, and
scales each sum by one float multiplication, which IEEE 754 defines. Float operators between
integers (LayerNormalization, Softmax, exponentials) differ in the last places, by the order in
which a CPU's kernels add; a value close to a rounding border may then become the next integer.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import torch
from golden import weights as golden
from private import private_python

from edgenext import api
from edgenext.export.onnx import onnx_graph
from edgenext.formats.session import dequantized, quantized
from edgenext.models import zoo
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.quantize.recipe import load_recipe
from edgenext.quantize.static import quantize_static
from edgenext.targets.target import form_for

if TYPE_CHECKING:
    from peers.sshd import SshPeer

pytestmark = [pytest.mark.peers, pytest.mark.slow]

XXS, SIZE, COUNT = "edgenext_xx_small", (64, 64), range(3)
Q = "QuantizeLinear"
Arrays = dict[str, np.ndarray]

ONNX = """
import sys, numpy, onnxruntime
model, given, out = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.log_severity_level = 1, 3
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
names = [o.name for o in session.get_outputs()]
given = dict(numpy.load(given))
count = len(next(iter(given.values())))
found = [session.run(names, {k: v[i:i + 1] for k, v in given.items()}) for i in range(count)]
numpy.savez(out, **{k: numpy.concatenate(v) for k, v in zip(names, zip(*found))})
"""

LITERT = """
import sys, numpy
from ai_edge_litert.interpreter import Interpreter
model, given, out = sys.argv[1:]
loaded = Interpreter(model, num_threads=1)
loaded.allocate_tensors()
(taken,), (result,) = loaded.get_input_details(), loaded.get_output_details()
found = []
for image in numpy.load(given)["image"]:
    loaded.set_tensor(taken["index"], image[None])
    loaded.invoke()
    found.append(loaded.get_tensor(result["index"]))
numpy.savez(out, logits=numpy.concatenate(found))
"""


def run_on_peer(peer: SshPeer, script: str, model: Path, inputs: Arrays) -> Arrays:
    """The outputs of a file on the peer."""
    folder = peer.path(f"{peer.home}/equality")
    folder.mkdir(exist_ok=True)
    (folder / "run.py").write_text(script)
    (folder / model.name).write_bytes(model.read_bytes())
    np.savez(folder / "inputs.npz", **inputs)
    files = f"{model.name} inputs.npz out.npz"
    code, _, stderr = peer.ssh(f"cd {peer.home}/equality && edge-python run.py {files}")
    assert code == 0, stderr
    with np.load(folder / "out.npz") as outputs:
        return dict(outputs)


def run_on_host(script: str, model: Path, inputs: Arrays) -> Arrays:
    """The outputs of a file on this machine, by the same script."""
    np.savez(model.with_suffix(".inputs.npz"), **inputs)
    out = model.with_suffix(".out.npz")
    command = [sys.executable, "-c", script, model, model.with_suffix(".inputs.npz"), out]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with np.load(out) as outputs:
        return dict(outputs)


@cache
def pictures() -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(8 + len(COUNT), 3, 8, 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic").numpy()


@cache
def network() -> torch.nn.Module:
    net = zoo.create_model(XXS)
    net.load_state_dict(golden.state(XXS))
    return net.eval().requires_grad_(False)


@cache
def int8_graph() -> onnx.ModelProto:
    """XXS with golden weights, as `--target cpu-onnxruntime` quantizes it, rounded to nearest."""
    recipe = load_recipe("cpu-onnxruntime", "w8a8-static")
    nearest = recipe.weights.model_copy(update={"rounding": "nearest", "fit": 0.0})
    recipe = recipe.model_copy(update={"weights": nearest})
    graph = onnx_graph(network(), form_for("cpu-onnxruntime"), SIZE, opset=recipe.opset)
    return quantize_static(graph, [x[None] for x in pictures()[:8]], recipe).model


def with_integers(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, whose outputs are all of its quantized tensors besides the logits."""
    traced = onnx.ModelProto()
    traced.CopyFrom(model)
    for node in model.graph.node:
        if node.op_type == Q:
            traced.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    return traced


def in_pieces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph cut at every quantized tensor: each is an output, and `given/` a new input."""
    cut = with_integers(model)
    zeros = {c.name: c.data_type for c in model.graph.initializer}
    types = {n.output[0]: zeros[n.input[2]] for n in cut.graph.node if n.op_type == Q}
    for node in cut.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in types:
            node.input[0] = f"given/{node.input[0]}"
    for name in sorted({i for n in cut.graph.node for i in n.input if i.startswith("given/")}):
        kind = types[name.removeprefix("given/")]
        cut.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, None))
    return cut


def exact(model: onnx.ModelProto) -> set[str]:
    """What is integer arithmetic from integers on: outputs of convolutions, and the logits."""
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    nodes = [node for node in model.graph.node if node.op_type == Q]
    return {n.output[0] for n in nodes if makers[n.input[0]] == "Conv"} | {"logits"}


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


@pytest.mark.campaign
def test_pieces_of_an_onnx_file(jetson: SshPeer, tmp_path: Path) -> None:
    model, images = int8_graph(), pictures()[8:]
    complete, pieces = tmp_path / "whole.onnx", tmp_path / "pieces.onnx"
    onnx.save(with_integers(model), complete)
    onnx.save(in_pieces(model), pieces)
    integers = run_on_host(ONNX, complete, {"input": images})
    names = [value.name for value in onnx.load(pieces).graph.input]
    inputs = {"input": images} | {
        k: integers[k.removeprefix("given/")] for k in names if k != "input"
    }
    host, peer = run_on_host(ONNX, pieces, inputs), run_on_peer(jetson, ONNX, pieces, inputs)
    assert len(exact(model)) == 49
    for name in exact(model):
        np.testing.assert_array_equal(peer[name], host[name], err_msg=name)
    # Float operators agree to some 1e-6, so at 255 steps less than a thousandth of a step is open,
    # and of the values no more than that share are near enough to a border to land beyond it.
    others = set(host) - exact(model)
    off = np.concatenate([np.ravel(host[k].astype(int) - peer[k]) for k in sorted(others)])
    assert np.abs(off).max() <= 1
    assert np.mean(off != 0) < 1e-3


def test_an_onnx_file(jetson: SshPeer, tmp_path: Path) -> None:
    model, images = int8_graph(), pictures()[8:]
    path = tmp_path / "whole.onnx"
    onnx.save(with_integers(model), path)
    inputs = {"input": images}
    host, peer = run_on_host(ONNX, path, inputs), run_on_peer(jetson, ONNX, path, inputs)
    with torch.no_grad():
        true = network()(torch.from_numpy(images)).numpy()
    integers = sorted(set(host) - {"logits"})
    same = np.array([all(np.array_equal(host[k][i], peer[k][i]) for k in integers) for i in COUNT])
    logits, others = host["logits"], peer["logits"]
    np.testing.assert_array_equal(others[same], logits[same])
    # One integer that lands beyond a border changes what follows, like any rounding. It happens to
    # few images, so that all in all the files differ by less than each of them is quantized away.
    assert rms(logits - others) < rms(logits - true) / 2


@pytest.mark.campaign
def test_a_tflite_file(jetson: SshPeer, tmp_path: Path) -> None:
    private_python("tflite")
    pytest.importorskip("ai_edge_litert")
    torch.save(golden.state(XXS), tmp_path / "golden.pth")
    artifact = api.quantize(
        XXS,
        QuantizeOptions(target="tflite", calib="digits", n=8),
        ModelOptions(weights=tmp_path / "golden.pth", size=SIZE[0]),
        ExportOptions(format="tflite", format_options={"integer_io": True}),
        out=tmp_path,
    )
    images = np.moveaxis(pictures()[8:], 1, -1)
    inputs = {"image": quantized(images, artifact.manifest.input)}
    host = run_on_host(LITERT, artifact.path, inputs)["logits"]
    peer = run_on_peer(jetson, LITERT, artifact.path, inputs)["logits"]
    assert host.dtype == peer.dtype == np.int8 and len(host) == len(COUNT)
    with torch.no_grad():
        true = network()(torch.from_numpy(pictures()[8:])).numpy()
    spec = artifact.manifest.outputs[0]
    assert spec.scale is not None and spec.zero_point is not None
    logits, others = (dequantized(y, spec.scale, spec.zero_point) for y in (host, peer))
    # It has float operators between integers as the ONNX file has: see there.
    assert rms(logits - others) < rms(logits - true) / 2
