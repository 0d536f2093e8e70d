"""What is done to a graph before the toolkit, and what is read from its log."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from architectures import BN, XXS

from edgenext import api
from edgenext.formats.rknn.gelu import complete_gelu
from edgenext.formats.rknn.layers import layers, reason
from edgenext.options import ExportOptions, ModelOptions

OPTIONS = ModelOptions(random_weights=True, num_classes=10, size=32)

LOG = """\
I rknn-toolkit2 version: 2.5.0
D RKNN: [13:10:46.135] ID   OpType             DataType Target InputShape          OutputShape   FullName
D RKNN: [13:10:46.135] 0    InputOperator      FLOAT16  CPU    \\                  (1,3,64,64)  0/0/0  0   InputOperator:input
D RKNN: [13:10:46.135] 1    Conv               FLOAT16  NPU    (1,3,64,64),(24,3,4,4),(24)  (1,24,16,16)  1662/8192/8192  26   Conv:/downsample_layers.0/Conv
D RKNN: [13:10:46.135] 2    exNorm             INT8     NPU    (1,24,16,16),(1,24,1,1),...   (1,24,16,16)  0/0/0  12   exNorm:/downsample_layers.0/LayerNormalization#1
D RKNN: [13:10:46.135] 7    Div                FLOAT    CPU    (4,1,1,1),(4,12,1,1)  (4,12,1,1)  0/0/0  0   Div:/stages.1/stages.1.1/xca/Div
E RKNN: [13:11:47.661] Unkown op target: 0
"""  # noqa: E501 - the toolkit's own lines


def graph(folder: Path, arch: str) -> onnx.ModelProto:
    """A float graph as the toolkit gets it."""
    return onnx.load(api.export(arch, OPTIONS, ExportOptions(opset=17), out=folder).path)


def logits(model: onnx.ModelProto) -> np.ndarray:
    images = np.random.default_rng(0).normal(0, 1, (1, 3, 32, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"input": images})[0]


def test_every_gelu_is_whole_and_the_graph_computes_the_same(tmp_path: Path) -> None:
    model = graph(tmp_path, XXS)
    expected = logits(model)
    size = model.ByteSize()
    complete_gelu(model)
    onnx.checker.check_model(model, full_check=True)
    makers = {node.output[0]: node for node in model.graph.node}
    halves = [node for node in model.graph.node if node.name.endswith("_half")]
    assert len(halves) == 12 == Counter(n.op_type for n in model.graph.node)["Erf"]
    for node in halves:
        assert makers[node.input[0]].op_type == "Mul"
    np.testing.assert_allclose(logits(model), expected, rtol=1e-5, atol=1e-5)
    assert model.ByteSize() < 1.01 * size  # the old weights are gone
    again = onnx.ModelProto()
    again.CopyFrom(model)
    complete_gelu(again)
    assert len(again.graph.node) == len(model.graph.node)


def test_a_graph_without_gelu_stays(tmp_path: Path) -> None:
    model = graph(tmp_path, BN)
    nodes = [node.SerializeToString() for node in model.graph.node]
    complete_gelu(model)
    assert [node.SerializeToString() for node in model.graph.node] == nodes


def test_the_table_of_layers() -> None:
    rows = list(layers(LOG))
    assert [(row.operator, row.dtype, row.unit) for row in rows] == [
        ("Conv", "FLOAT16", "npu"),
        ("exNorm", "INT8", "npu"),
        ("Div", "FLOAT", "cpu"),
    ]
    assert rows[2].name == "/stages.1/stages.1.1/xca/Div"


@pytest.mark.parametrize(
    ("log", "text"),
    [
        (LOG, ""),
        (
            "\x1b[1;31mE\x1b[0m \x1b[1;31mbuild: rv1106 not support fp16!\x1b[0m\n",
            "build: rv1106 not support fp16!",
        ),
        ("E RKNN: [13:11:47.661] no memory\n", "no memory"),
        ("ValueError: Unsupported opset\n", "ValueError: Unsupported opset"),
    ],
)
def test_the_reason_of_a_refusal(log: str, text: str) -> None:
    assert reason(log) == text
