from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from quantized_graphs import batches, float_graph, recipe, sqnr

from edgenext.models import zoo
from edgenext.quantize.calibrate import TensorStats, calibrate
from edgenext.quantize.channel_scales import balance_norm, balance_stream, find_streams
from edgenext.quantize.static import prepare_graph


def inferred(arch: str, form: str = "convT") -> ir.Model:
    return ir.from_proto(onnx.shape_inference.infer_shapes(float_graph(arch, form)))


def stats_of_reach(reach: np.ndarray) -> TensorStats:
    values, channels = np.zeros(0), np.zeros(0, np.int32)
    return TensorStats(-reach, reach, values, channels)


LARGE = [
    pytest.param(arch, marks=pytest.mark.campaign) for arch in ("edgenext_small", "edgenext_base")
]


@pytest.mark.parametrize("arch", ["edgenext_xx_small", *LARGE])
def test_a_stream_is_a_stage(arch: str) -> None:
    streams = find_streams(inferred(arch).graph)
    assert len(streams) == 4
    dims = zoo.arch(arch).dims
    for stream, dim in zip(streams, dims, strict=True):
        widest = max(int(t.shape[1]) for t in stream.tensors)
        assert widest == dim
        # the groups of a split convolution may share scales, the channels of one group do not
        assert stream.count <= dim * 2


@pytest.mark.parametrize(
    ("arch", "form"),
    [
        ("edgenext_xx_small", "convT"),
        ("edgenext_xx_small", "convC"),
        ("edgenext_xx_small_bn_hs", "convT"),
        pytest.param("edgenext_x_small", "convT", marks=pytest.mark.campaign),
        pytest.param("edgenext_x_small", "convC", marks=pytest.mark.campaign),
        pytest.param("edgenext_xx_small_bn_hs", "convC", marks=pytest.mark.campaign),
    ],
)
def test_the_function_stays_the_same(arch: str, form: str) -> None:
    graph = float_graph(arch, form)
    every_stream = recipe(equalise={"least_db": 0.0})
    prepared = prepare_graph(graph, batches(8), every_stream)
    assert sqnr(graph, prepared.model) > 100
    before = {t.name: onnx.numpy_helper.to_array(t) for t in graph.graph.initializer}
    after = {t.name: onnx.numpy_helper.to_array(t) for t in prepared.model.graph.initializer}
    assert before.keys() != after.keys()  # the graph was changed


def test_statistics_follow_their_tensors() -> None:
    """The rescaled statistics are those of calibrating the equalised graph."""
    graph = float_graph()
    prepared = prepare_graph(graph, batches(8), recipe(equalise={"least_db": 0.0}))
    names = [n for n in prepared.stats if n != "input"]
    measured = calibrate(prepared.model, names, batches(8), 0)
    for name in names:
        expected, actual = prepared.stats[name], measured[name]
        assert np.allclose(actual.high, expected.high, rtol=1e-3, atol=1e-4), name
        assert np.allclose(actual.low, expected.low, rtol=1e-3, atol=1e-4), name


def test_an_outlier_channel_of_a_stream_is_scaled_down() -> None:
    stream = find_streams(inferred("edgenext_xx_small").graph)[0]
    rng = np.random.default_rng(0)
    reach = rng.uniform(4, 6, stream.count)
    reach[3] = 60.0
    stats = {
        str(t.name): stats_of_reach(reach[of])
        for t, of in zip(stream.tensors, stream.classes, strict=True)
    }
    scales, gain = balance_stream(stream, stats)
    assert gain > 10  # dB: only the outlier keeps the coarse step
    tensor, of = stream.tensors[0], stream.classes[0]
    even = reach[of] / scales[tensor]
    assert even.max() / np.median(even) < 2.5


def test_even_streams_are_left_alone() -> None:
    stream = find_streams(inferred("edgenext_xx_small").graph)[1]
    stats = {
        str(t.name): stats_of_reach(np.full(len(of), 5.0))
        for t, of in zip(stream.tensors, stream.classes, strict=True)
    }
    _, gain = balance_stream(stream, stats)
    assert gain < 0.1


def test_norms_are_balanced_only_where_it_helps() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(16, 24, 1))
    assert balance_norm(stats_of_reach(np.full(24, 4.0)), weight, 127) is None
    uneven = np.full(24, 1.0)
    uneven[0] = 30.0
    scale = balance_norm(stats_of_reach(uneven), weight, 127)
    assert scale is not None and scale[0] > 3 * np.median(scale)
