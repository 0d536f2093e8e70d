"""An INT8 file computes on an arm64 CPU what it computes here.

What is exact by its arithmetic must be equal to the bit: an integer convolution multiplies and adds
integers, and scales each sum by one float multiplication, which IEEE 754 fixes. Between integers
lie float operators (LayerNormalization, Softmax, exponentials), whose last places depend on how a
CPU's kernels add up; there a value that is just between two integers may become the other one.
"""

from __future__ import annotations

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
from edgenext.graph.targets import form_for
from edgenext.models import zoo
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.quantize.engine import quantize_static
from edgenext.quantize.recipe import load_recipe
from edgenext.runtimes.base import quantized

if TYPE_CHECKING:
    from peers.sshd import SshPeer

pytestmark = [pytest.mark.peers, pytest.mark.slow]

XXS, SIZE, IMAGES = "edgenext_xx_small", (64, 64), 4
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


def there(peer: SshPeer, script: str, model: Path, given: Arrays) -> Arrays:
    """What the file gives on the peer."""
    folder = peer.path("/root/equality")
    folder.mkdir(exist_ok=True)
    (folder / "run.py").write_text(script)
    (folder / model.name).write_bytes(model.read_bytes())
    np.savez(folder / "given.npz", **given)
    files = f"{model.name} given.npz out.npz"
    code, _, said = peer.ssh(f"cd /root/equality && edge-python run.py {files}")
    assert code == 0, said
    with np.load(folder / "out.npz") as found:
        return dict(found)


def here(script: str, model: Path, given: Arrays) -> Arrays:
    """What it gives on this machine, by the same lines of Python."""
    import subprocess
    import sys

    np.savez(model.with_suffix(".given.npz"), **given)
    out = model.with_suffix(".out.npz")
    command = [sys.executable, "-c", script, model, model.with_suffix(".given.npz"), out]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with np.load(out) as found:
        return dict(found)


@cache
def pictures() -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(8 + IMAGES, 3, 8, 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic").numpy()


@cache
def int8_graph() -> onnx.ModelProto:
    """XXS with golden weights, as `--target cpu-onnxruntime` quantizes it, rounded to nearest."""
    net = zoo.create_model(XXS)
    net.load_state_dict(golden.state(XXS))
    recipe = load_recipe("cpu-onnxruntime", "w8a8-static")
    nearest = recipe.weights.model_copy(update={"rounding": "nearest", "fit": 0.0})
    recipe = recipe.model_copy(update={"weights": nearest})
    graph = onnx_graph(net.eval(), form_for("cpu-onnxruntime"), SIZE, opset=recipe.opset)
    return quantize_static(graph, [x[None] for x in pictures()[:8]], recipe).model


def with_integers(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, whose outputs are all of its quantized tensors besides the logits."""
    traced = onnx.ModelProto()
    traced.CopyFrom(model)
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            traced.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    return traced


def convolutions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every convolution between integers, alone: integers in, integers out."""
    constants = {c.name for c in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    takers = {name: node for node in model.graph.node for name in node.input}
    nodes, inputs, outputs, kept = [], [], [], set()
    for conv in model.graph.node:
        taker = takers.get(conv.output[0])
        if conv.op_type != "Conv" or taker is None or taker.op_type != "QuantizeLinear":
            continue
        before = [makers[name] for name in conv.input]
        nodes += [node for node in before if node.output[0] not in kept] + [conv, taker]
        kept |= {node.output[0] for node in before}
        outputs.append(taker.output[0])
        inputs += [node.input[0] for node in before if node.input[0] not in constants]
    free = sorted(set(inputs) - set(outputs))
    uint8 = onnx.TensorProto.UINT8
    graph = onnx.helper.make_graph(
        nodes,
        "convolutions",
        [onnx.helper.make_tensor_value_info(name, uint8, None) for name in free],
        [onnx.helper.make_tensor_value_info(name, uint8, None) for name in outputs],
        model.graph.initializer,
    )
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.graph.CopyFrom(graph)
    return made


def test_onnx_file(jetson: SshPeer, tmp_path: Path) -> None:
    model, images = int8_graph(), {"input": pictures()[8:]}
    whole, alone = tmp_path / "whole.onnx", tmp_path / "alone.onnx"
    onnx.save(with_integers(model), whole)
    onnx.save(convolutions(model), alone)
    ours, theirs = here(ONNX, whole, images), there(jetson, ONNX, whole, images)

    # equal to the bit: each convolution on the integers that it met here
    (graph,) = [onnx.load(alone).graph]
    given = {value.name: ours[value.name] for value in graph.input}
    exact = here(ONNX, alone, given)
    assert len(exact) == 48
    for name, found in there(jetson, ONNX, alone, given).items():
        np.testing.assert_array_equal(found, exact[name], err_msg=name)

    # float operators agree to some 1e-6, so at 255 steps less than a thousandth of a step is open,
    # and so many of the values at most are near enough to a border to land on its other side
    logits = ours.pop("logits"), theirs.pop("logits")
    off = np.concatenate([np.ravel(ours[k].astype(int) - theirs[k]) for k in ours])
    print(f"{np.count_nonzero(off)} of {off.size} integers, {np.abs(off).max()} steps", end=" ")
    print(f"logits {np.abs(logits[0] - logits[1]).max():.2g}")
    assert np.abs(off).max() <= 1
    assert np.mean(off != 0) < 1e-3

    # the head is a product with integers: one step of one of them, at its largest weight
    assert np.abs(logits[0] - logits[1]).max() <= head_step(model)
    np.testing.assert_array_equal(logits[0].argmax(-1), logits[1].argmax(-1))


def head_step(model: onnx.ModelProto) -> float:
    """The most that one step of one of the head's inputs moves a logit."""
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    (head,) = [node for node in model.graph.node if node.op_type == "Gemm"]
    step = float(constants[makers[head.input[0]].input[1]])
    weight, scale = (constants[name] for name in makers[head.input[1]].input[:2])
    return step * float((np.abs(weight).max(-1) * scale.ravel()).max())


def test_tflite_file(jetson: SshPeer, tmp_path: Path) -> None:
    private_python("tflite")
    pytest.importorskip("ai_edge_litert")
    torch.save(golden.state(XXS), tmp_path / "golden.pth")
    artifact = api.quantize(
        XXS,
        QuantizeOptions(target="tflite", calib="digits", n=8),
        ModelOptions(weights=tmp_path / "golden.pth", size=SIZE[0]),
        ExportOptions(file_format="tflite", told={"integer_io": True}),
        out=tmp_path,
    )
    images = np.moveaxis(pictures()[8:], 1, -1)
    given = {"image": quantized(images, artifact.manifest.input)}
    ours = here(LITERT, artifact.path, given)["logits"]
    theirs = there(jetson, LITERT, artifact.path, given)["logits"]
    assert ours.dtype == theirs.dtype == np.int8 and len(ours) == IMAGES
    # integers from end to end, but for float islands as in the ONNX file: see there. What tips over
    # inside may move what the head rounds by a step
    off = ours.astype(int) - theirs
    print(f"{np.count_nonzero(off)} of {off.size} logits, {np.abs(off).max()} steps")
    assert np.abs(off).max() <= 1
    assert np.mean(off != 0) < 0.1
    np.testing.assert_array_equal(ours.argmax(-1), theirs.argmax(-1))
