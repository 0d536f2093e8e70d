from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgenext.quantize.layer_inputs import RowSampler, input_rows
from edgenext.quantize.moments import QuantizedLayer, moments_of
from edgenext.quantize.ranges import QParams
from edgenext.quantize.recipe import Weights
from edgenext.quantize.weights import LayerWeights, round_layer

STEP = 2**-10
"""The scale of quantized inputs."""


def layer(weight: np.ndarray, x: np.ndarray, quantized: np.ndarray) -> QuantizedLayer:
    w = ir.Value(name="w", const_value=ir.tensor(weight.astype(np.float32)))
    node = ir.node("Gemm", [ir.Value(name="x"), w], name="/head/Gemm")
    rows = x.astype(np.float32), np.round(quantized / STEP).astype(np.float32)
    moments = moments_of([rows], QParams(STEP, 0, "int16"), products=True)
    return QuantizedLayer(node, weight, np.zeros(len(weight)), STEP, moments)


def options(**changes: object) -> Weights:
    return Weights(**({"limit": 15, "reason": "test"} | changes))


def error(
    source: QuantizedLayer, result: LayerWeights, x: np.ndarray, quantized: np.ndarray
) -> float:
    rounded = result.levels * result.scales[:, None].astype(float)
    return float(np.square(x @ source.weight.T - quantized @ rounded.T - result.bias).mean())


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, correlated inputs, and the inputs as an inexact look-up table would return them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 24)) @ rng.normal(size=(24, 24)) / 5
    return rng.normal(size=(12, 24)), x, 0.95 * x + 0.1 + 0.02 * rng.normal(size=x.shape)


def test_gptq_beats_the_nearest_and_fitting_helps_again(case: tuple[np.ndarray, ...]) -> None:
    weight, x, quantized = case
    source = layer(weight, x, quantized)
    plain, corrected, gptq, fitted = (
        error(source, round_layer(source, options(**kw)), x, quantized)
        for kw in (
            {"correct_bias": False},
            {},
            {"rounding": "gptq"},
            {"rounding": "gptq", "fit": 1.0},
        )
    )
    assert plain > corrected > gptq > fitted
    assert corrected < 0.8 * plain and gptq < 0.8 * corrected and fitted < 0.8 * gptq


def test_few_images_change_the_weights_little(case: tuple[np.ndarray, ...]) -> None:
    weight, x, quantized = case
    changes = []
    for n in (8, 4000):
        source = layer(weight, x[:n], quantized[:n])
        result = round_layer(source, options(limit=127, fit=3.0))
        changes.append(np.abs(result.levels * result.scales[:, None] - weight).mean())
    assert changes[0] < changes[1]


def test_levels_stay_within_the_limit(case: tuple[np.ndarray, ...]) -> None:
    weight, x, quantized = case
    for kw in ({}, {"rounding": "gptq", "fit": 0.5}, {"per_channel": False}):
        result = round_layer(layer(weight, x, quantized), options(**kw))
        assert np.abs(result.levels).max() <= 15
        assert (len(np.unique(result.scales)) == 1) == (kw == {"per_channel": False})


def test_inputs_without_spread_do_no_harm() -> None:
    """Constant images: every input is the same, so nothing can be fitted."""
    weight = np.random.default_rng(0).normal(size=(4, 6))
    x = np.ones((50, 6))
    result = round_layer(layer(weight, x, x), options(limit=127, rounding="gptq", fit=3.0))
    rounded = result.levels * result.scales[:, None]
    assert np.isfinite(rounded).all() and np.abs(rounded - weight).max() < 0.1


@pytest.mark.parametrize("size", [1, 2])
def test_input_rows_are_what_a_convolution_multiplies(size: int) -> None:
    import torch

    rng = np.random.default_rng(0)
    weight = rng.normal(size=(5, 3, size, size)).astype(np.float32)
    x = rng.normal(size=(2, 3, 6, 6)).astype(np.float32)
    expected = torch.nn.functional.conv2d(
        torch.from_numpy(x), torch.from_numpy(weight), stride=size
    )
    product = input_rows(x, size).reshape(-1, 3 * size**2) @ weight.reshape(5, -1).T
    outputs = expected.permute(0, 2, 3, 1).reshape(-1, 5).numpy()
    assert np.allclose(product, outputs, atol=1e-5)
    some = np.array([7, 0, 11])
    assert np.array_equal(input_rows(x, size, some), input_rows(x, size)[some])


def test_rows_of_equal_sizes_are_of_the_same_positions() -> None:
    """Those of a gate's input and of another tensor of its size belong together."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 4, 30, 30)).astype(np.float32)
    sampler = RowSampler({"a": 1, "b": 1, "c": 2}, batches=1000)
    batches = []
    for _ in range(2):
        sampler.next_batch()
        a, b = (sampler.positions(name, x.shape) for name in "ab")
        assert a is not None and np.array_equal(a, b) and a.shape == (16,)
        batches.append(a)
    assert not np.array_equal(*batches)
    assert input_rows(x, 2, sampler.positions("c", x.shape)).shape == (16, 4, 2, 2)


@pytest.mark.parametrize(("dtype", "most"), [("uint8", 255), ("uint16", 65535)])
def test_moments_are_those_of_the_rows(dtype: str, most: int) -> None:
    """Bytes are multiplied as whole numbers in float32, 16 bits in float64: both are exact."""
    rng = np.random.default_rng(0)
    levels = rng.integers(0, most + 1, (5000, 12)).astype(np.float32) - most // 3
    x = levels.astype(np.float64) * STEP + rng.normal(size=levels.shape) * STEP
    q = QParams(STEP, most // 3, dtype)
    parts = [(x[i : i + 2000].astype(np.float32), levels[i : i + 2000]) for i in (0, 2000, 4000)]
    moments = moments_of(parts, q, products=True)
    a, b = x.astype(np.float32).astype(np.float64), levels.astype(np.float64) * STEP
    assert np.allclose(moments.mean, a.mean(0)) and np.allclose(moments.quantized_mean, b.mean(0))
    square, cross = (np.cov(c.T, b.T, bias=True)[:12, 12:] for c in (b, a))
    scale = np.abs(square).max()
    assert np.abs(moments.square - square).max() < 1e-12 * scale
    assert np.abs(moments.cross - cross).max() < 1e-7 * scale
