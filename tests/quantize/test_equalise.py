from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from quantized_graphs import batches, db, float_graph, recipe

from edgenext.models import zoo
from edgenext.quantize.calibrate import TensorStats, calibrate
from edgenext.quantize.channel_scales import balance_norm, balance_stream, find_streams
from edgenext.quantize.engine import prepare


def inferred(arch: str, form: str = "convT") -> ir.Model:
    return ir.from_proto(onnx.shape_inference.infer_shapes(float_graph(arch, form)))


def of_reach(reach: np.ndarray) -> TensorStats:
    none = np.zeros(0)
    return TensorStats(-reach, reach, reach * 0, np.square(reach) / 9, none, none.astype(np.int32))


@pytest.mark.parametrize("arch", ["edgenext_xx_small", "edgenext_small", "edgenext_base"])
def test_a_stream_is_a_stage(arch: str) -> None:
    streams = find_streams(inferred(arch).graph)
    assert len(streams) == 4
    dims = zoo.arch(arch).dims
    for stream, dim in zip(streams, dims, strict=True):
        widest = max(int(t.shape[1]) for t in stream.tensors)
        assert widest == dim
        # a split convolution's groups may share scales, never fewer than one a channel of a group
        assert stream.count <= dim * 2


@pytest.mark.parametrize("form", ["convT", "convC"])
@pytest.mark.parametrize("arch", ["edgenext_x_small", "edgenext_xx_small_bn_hs"])
def test_the_function_stays_the_same(arch: str, form: str) -> None:
    graph = float_graph(arch, form)
    eager = recipe(equalise={"least_db": 0.0})
    prepared = prepare(graph, batches(8), eager)
    assert db(graph, prepared.model) > 100
    before = {t.name: onnx.numpy_helper.to_array(t) for t in graph.graph.initializer}
    after = {t.name: onnx.numpy_helper.to_array(t) for t in prepared.model.graph.initializer}
    assert before.keys() != after.keys()  # something was done


def test_statistics_follow_their_tensors() -> None:
    """What equalising predicts of the tensors is what calibrating the new graph finds."""
    graph = float_graph()
    prepared = prepare(graph, batches(8), recipe(equalise={"least_db": 0.0}))
    names = [n for n in prepared.stats if n != "input"]
    seen = calibrate(prepared.model, names, batches(8), 0)
    for name in names:
        assert np.allclose(seen[name].high, prepared.stats[name].high, rtol=1e-3, atol=1e-4), name
        assert np.allclose(seen[name].low, prepared.stats[name].low, rtol=1e-3, atol=1e-4), name


def test_an_outlier_is_taken_out_of_a_stream() -> None:
    stream = find_streams(inferred("edgenext_xx_small").graph)[0]
    rng = np.random.default_rng(0)
    reach = rng.uniform(4, 6, stream.count)
    reach[3] = 60.0
    stats = {
        str(t.name): of_reach(reach[of])
        for t, of in zip(stream.tensors, stream.classes, strict=True)
    }
    scales, gain = balance_stream(stream, stats)
    assert gain > 10  # dB: the step shrinks by the outlier, which rounds coarser alone
    tensor, of = stream.tensors[0], stream.classes[0]
    even = reach[of] / scales[tensor]
    assert even.max() / np.median(even) < 2.5


def test_even_streams_are_left_alone() -> None:
    stream = find_streams(inferred("edgenext_xx_small").graph)[1]
    stats = {
        str(t.name): of_reach(np.full(len(of), 5.0))
        for t, of in zip(stream.tensors, stream.classes, strict=True)
    }
    _, gain = balance_stream(stream, stats)
    assert gain < 0.1


def test_norms_are_balanced_only_where_it_helps() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(16, 24, 1))
    assert balance_norm(of_reach(np.full(24, 4.0)), weight, 127) is None
    uneven = np.full(24, 1.0)
    uneven[0] = 30.0
    scale = balance_norm(of_reach(uneven), weight, 127)
    assert scale is not None and scale[0] > 3 * np.median(scale)
