from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenext.errors import DataError, InputError, UsageError
from edgenext.quantize.calibrate import TensorStats, calibrate
from edgenext.quantize.gelu import table
from edgenext.quantize.qdq import INT32_HEADROOM, weight_scales
from edgenext.quantize.ranges import MANTISSA_BITS, asymmetric, minmax, mse, snap
from edgenext.quantize.recipe import load_recipe

finite = st.floats(-1e6, 1e6, width=32)


def stats(values: np.ndarray) -> TensorStats:
    s = TensorStats()
    s.update(values.reshape(1, 1, -1).astype(np.float32), np.random.default_rng(0))
    return s


@given(finite, finite)
def test_zero_is_exact_and_the_range_is_covered(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    q = asymmetric(low, high)
    assert 0 <= q.zero_point <= 255 and q.scale > 0
    assert q.fake_quantize(np.zeros(1))[0] == 0
    # half a step for rounding, half for the zero point's own
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


def test_mse_clips_outliers_and_never_loses_to_minmax() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate((rng.normal(0, 1, 500), [60.0]))
    s = stats(values)
    clipped, whole = mse(s), minmax(s)
    sample = s.sample.astype(float)

    def error(q: object) -> float:
        return float(np.square(q.fake_quantize(sample) - sample).mean())

    assert error(clipped) <= error(whole)
    assert whole.scale == pytest.approx((values.max() - values.min()) / 255, rel=2e-3)


def test_the_range_is_judged_behind_the_gelu() -> None:
    values = np.random.default_rng(0).normal(-4, 5, 4000)
    before, behind = mse(stats(values)), mse(stats(values), table(1.702))
    low = -before.zero_point * before.scale
    assert -behind.zero_point * behind.scale > low  # far below zero the GELU is flat
    gelu = table(1.702)
    error = [
        np.square(gelu(q.fake_quantize(values)) - gelu(values)).mean() for q in (before, behind)
    ]
    assert error[1] < error[0]


@settings(max_examples=50)
@given(st.floats(0, 1e4), st.floats(1e-6, 1.0))
def test_biases_fit_into_32_bits(bias: float, input_scale: float) -> None:
    weight = np.array([[1e-9, 0.0], [3.0, -2.0]])
    scales = weight_scales(weight, np.array([bias, bias]), input_scale, 64)
    assert (np.abs(bias / (scales * np.float32(input_scale))) <= INT32_HEADROOM * 1.01).all()
    assert np.abs(weight / scales[:, None]).max() <= 64 * 1.00001


def tiny_model(scale: float) -> onnx.ModelProto:
    x = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 2, 4])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2, 4])
    nodes = [onnx.helper.make_node("Mul", ["input", "k"], ["y"])]
    k = onnx.numpy_helper.from_array(np.float32(scale), "k")
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], [k])
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9
    )


def test_calibration_sees_extremes_and_channel_means() -> None:
    batches = [np.full((1, 2, 4), v, np.float32) for v in (1.0, 2.0, -3.0)]
    batches[1][0, 1] = 8.0
    seen: list[int] = []
    found = calibrate(tiny_model(2.0), ["input", "y"], batches, 0, seen.append)
    assert (found["y"].low, found["y"].high) == (-6.0, 16.0)
    assert found["y"].channel_mean.tolist() == [0.0, 4.0]
    assert found["input"].high == 8.0 and seen == [1, 2, 3]
    assert set(found["y"].sample) <= {2.0, 4.0, 16.0, -6.0}


def test_calibration_refuses_infinite_values() -> None:
    with pytest.raises(DataError, match="not finite"):
        calibrate(tiny_model(3e38), ["y"], [np.full((1, 2, 4), 3e38, np.float32)], 0)


def test_recipe_files(tmp_path: Path) -> None:
    from importlib import resources

    text = resources.files("edgenext.quantize").joinpath("recipes/cpu-onnxruntime.toml").read_text()
    good = tmp_path / "mine.toml"
    good.write_text(text.replace("limit = 64", "limit = 127"))
    assert load_recipe("cpu-onnxruntime", file=good).weights.limit == 127
    bad = tmp_path / "bad.toml"
    bad.write_text(text.replace("limit = 64", "limits = 64"))
    with pytest.raises(UsageError, match="limit"):
        load_recipe("cpu-onnxruntime", file=bad)
    bad.write_text("= =")
    with pytest.raises(InputError, match="TOML"):
        load_recipe("cpu-onnxruntime", file=bad)
    with pytest.raises(InputError, match="nowhere"):
        load_recipe("cpu-onnxruntime", file=tmp_path / "nowhere.toml")
