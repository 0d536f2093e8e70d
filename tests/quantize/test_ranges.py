from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenext.errors import DataError
from edgenext.quantize.calibrate import TensorStats, calibrate
from edgenext.quantize.gated_activation import float_function
from edgenext.quantize.ranges import (
    LIMITS,
    MANTISSA_BITS,
    QParams,
    affine,
    choose_range,
    clipped_share,
    snap,
)
from edgenext.quantize.recipe import Activations, Gate
from edgenext.quantize.weights import INT32_HEADROOM, weight_scales

finite = st.floats(-1e6, 1e6, width=32)
ZERO = {"uint8": 128, "int8": 0, "uint16": 32768, "int16": 0}
"""The zero point of a symmetric range."""


def stats(values: np.ndarray) -> TensorStats:
    """Of a tensor of one channel, all of whose values are sampled."""
    x = values.astype(np.float32)
    one = np.array([0.0])
    return TensorStats(one + x.min(), one + x.max(), x, np.zeros(len(x), np.int32))


def options(method: str, dtype: str = "uint8", symmetric: bool = False) -> Activations:
    return Activations(method=method, dtype=dtype, symmetric=symmetric, reason="test")


def error(q: QParams, values: np.ndarray) -> float:
    return float(np.square(q.fake_quantize(values) - values).mean())


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("symmetric", [False, True])
@given(a=finite, b=finite)
def test_zero_is_exact_and_the_range_is_covered(
    dtype: str, symmetric: bool, a: float, b: float
) -> None:
    low, high = min(a, b), max(a, b)
    q = affine(low, high, dtype, symmetric)
    first, last = LIMITS[dtype]
    assert first <= q.zero_point <= last and q.scale > 0
    assert q.fake_quantize(np.zeros(1))[0] == 0
    assert not symmetric or q.zero_point == ZERO[dtype]
    # half a step for the value's rounding, half for that of the zero point
    for value in (low, high):
        assert abs(q.fake_quantize(np.array([value]))[0] - value) <= 1.001 * q.scale


@given(st.floats(1e-30, 1e30))
def test_scales_are_snapped_upwards_by_little(x: float) -> None:
    snapped = float(snap(x))
    assert x * (1 - 2e-6) <= snapped <= x * (1 + 2.0**-MANTISSA_BITS * 2 + 1e-6)
    assert float(snap(snapped)) == snapped


@given(st.floats(1e-20, 1e20), st.floats(-3e-7, 3e-7))
def test_noise_in_the_last_bits_rarely_matters(x: float, noise: float) -> None:
    near = float(snap(x * (1 + noise))) / float(snap(x))
    assert abs(near - 1) <= 2.0**-MANTISSA_BITS * 2  # one step at most, mostly none


@pytest.mark.parametrize("method", ["percentile", "entropy"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_methods_clip_an_outlier_that_minmax_includes(method: str, symmetric: bool) -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate((rng.normal(0, 1, 40_000), [60.0]))
    minmax = choose_range(stats(values), options("minmax", symmetric=symmetric))
    clipping = choose_range(stats(values), options(method, symmetric=symmetric))
    assert minmax.range[1] == pytest.approx(60, rel=0.01)
    assert clipping.range[1] < 30
    bulk = values[:-1]
    assert error(clipping, bulk) < error(minmax, bulk) / 3
    assert clipped_share(stats(values), minmax) == 0
    assert 0 < clipped_share(stats(values), clipping) < 1e-3


def test_mse_has_no_larger_error_than_minmax() -> None:
    values = np.random.default_rng(1).standard_t(4, 5000)
    mse, minmax = (choose_range(stats(values), options(m)) for m in ("mse", "minmax"))
    assert error(mse, values) <= error(minmax, values)


def test_the_range_is_chosen_by_the_error_behind_the_gelu() -> None:
    node = onnx.helper.make_node("Gelu", ["x"], ["y"])
    gelu = float_function(node, Gate(reason="test"))
    values = np.random.default_rng(0).normal(-4, 5, 4000)
    before = choose_range(stats(values), options("mse"))
    behind = choose_range(stats(values), options("minmax"), gelu)  # the method does not matter
    assert behind.range[0] > before.range[0]  # far below zero the GELU is flat
    errors = [
        np.square(gelu(q.fake_quantize(values)) - gelu(values)).mean() for q in (before, behind)
    ]
    assert errors[1] < errors[0]


@settings(max_examples=50)
@given(st.floats(0, 1e4), st.floats(1e-6, 1.0))
def test_biases_fit_into_32_bits(bias: float, input_scale: float) -> None:
    weight = np.array([[1e-9, 0.0], [3.0, -2.0]])
    scales = weight_scales(weight, np.array([bias, bias]), input_scale, 64)
    assert (np.abs(bias / (scales * np.float32(input_scale))) <= INT32_HEADROOM * 1.01).all()
    assert np.abs(weight / scales[:, None]).max() <= 64 * 1.00001


WIDE = 4096
"""Positions of a tensor whose random values have nearly its moments."""


def tiny_model(scale: float, positions: int = 4) -> onnx.ModelProto:
    shape = [1, 2, positions]
    x = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, shape)
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)
    nodes = [onnx.helper.make_node("Mul", ["input", "k"], ["y"])]
    k = onnx.numpy_helper.from_array(np.float32(scale), "k")
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], [k])
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9
    )


def test_calibration_measures_extremes_and_squares_of_every_channel() -> None:
    batches = [np.full((1, 2, WIDE), v, np.float32) for v in (1.0, 2.0, -3.0)]
    batches[1][0, 1] = 8.0
    calls: list[tuple[str, int, int]] = []

    def progress(task: str, done: int, total: int) -> None:
        calls.append((task, done, total))

    result = calibrate(tiny_model(2.0, WIDE), ["input", "y"], batches, 0, progress)
    y = result["y"]
    assert (y.low.tolist(), y.high.tolist()) == ([-6.0, -6.0], [4.0, 16.0])
    squares = [(4 + 16 + 36) / 3, (4 + 256 + 36) / 3]
    assert y.square.tolist() == pytest.approx(squares, rel=0.1)  # of random values
    assert result["input"].high.tolist() == [2.0, 8.0]
    assert calls == [("calibrating", n, 3) for n in (1, 2, 3)]
    assert set(y.values[y.channels == 0]) <= {2.0, 4.0, -6.0}
    assert set(y.values[y.channels == 1]) <= {2.0, 16.0, -6.0}
    half = y.scaled(np.array([1.0, 2.0]))
    assert half.high.tolist() == [4.0, 8.0] and set(half.values) <= {2.0, 4.0, 8.0, 1.0, -3.0, -6.0}


def test_the_sample_of_calibration_does_not_grow_with_the_images() -> None:
    few, many = (
        calibrate(tiny_model(1.0), ["y"], [np.ones((1, 2, 4), np.float32)] * n, 0)["y"]
        for n in (10, 20_000)
    )
    assert len(few.values) == 80 and len(many.values) <= 20_000 * 16


def test_calibration_refuses_infinite_values() -> None:
    with pytest.raises(DataError, match="not finite"):
        calibrate(tiny_model(3e38), ["y"], [np.full((1, 2, 4), 3e38, np.float32)], 0)
