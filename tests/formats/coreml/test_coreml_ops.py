"""The operators of Core ML's ML programs, one by one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgenext.formats.coreml import program as mil_program
from edgenext.formats.coreml import session as coreml

with mil_program.warnings_hidden():
    ct = pytest.importorskip("coremltools", reason="coremltools is not installed")
    coreml.preload()
    from coremltools.converters.mil import Builder as mb  # noqa: N813 # as coremltools has it
from mil_packages import IGNORED_WARNINGS, Build, X, Y, inferred, normal, run, softmax

pytestmark = IGNORED_WARNINGS


def erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf)(x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def layer_norm(
    x: np.ndarray, axes: tuple[int, ...], gamma: Any, beta: Any, eps: float
) -> np.ndarray:
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + eps) * gamma + beta


POSITIVE = np.abs(X) + 0.1


GAMMA, BETA = normal(3), normal(3)


INFERRED: dict[str, tuple[Build, tuple[np.ndarray, ...], Callable[..., np.ndarray]]] = {
    "abs": (lambda x: mb.abs(x=x), (X,), np.abs),
    "add": (lambda x, y: mb.add(x=x, y=y), (X, Y), np.add),
    "add, broadcast": (lambda x, y: mb.add(x=x, y=y), (X, Y[:1, :, :1]), np.add),
    "cast to int32": (lambda x: mb.cast(x=x, dtype="int32"), (X,), np.trunc),
    "clip": (lambda x: mb.clip(x=x, alpha=-0.5, beta=1.0), (X,), lambda x: x.clip(-0.5, 1)),
    "concat": (
        lambda x, y: mb.concat(values=[x, y], axis=-2),
        (X, Y[:, :, :2]),
        lambda x, y: np.concatenate((x, y), 2),
    ),
    "elu": (
        lambda x: mb.elu(x=x, alpha=0.7),
        (X,),
        lambda x: np.where(x > 0, x, 0.7 * (np.exp(x) - 1)),
    ),
    "erf": (lambda x: mb.erf(x=x), (X,), erf),
    "exp": (lambda x: mb.exp(x=x), (X,), np.exp),
    "expand_dims": (
        lambda x: mb.expand_dims(x=x, axes=[0, -1]),
        (X[0],),
        lambda x: x[None, ..., None],
    ),
    "gather": (
        lambda x: mb.gather(x=x, indices=[2, 0, -1], axis=1, validate_indices=False),
        (X,),
        lambda x: x[:, [2, 0, 2]],
    ),
    "gelu": (
        lambda x: mb.gelu(x=x, mode="EXACT"),
        (X,),
        lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    ),
    "gelu by sigmoid": (
        lambda x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"),
        (X,),
        lambda x: x * sigmoid(1.702 * x),
    ),
    "gelu by tanh": (
        lambda x: mb.gelu(x=x, mode="TANH_APPROXIMATION"),
        (X,),
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "inverse": (
        lambda x: mb.inverse(x=x, epsilon=0.1),
        (POSITIVE,),
        lambda x: 1 / (x + np.float32(0.1)),
    ),
    "layer_norm": (
        lambda x: mb.layer_norm(x=x, axes=[1], gamma=GAMMA, beta=BETA, epsilon=1e-3),
        (X,),
        lambda x: layer_norm(x, (1,), GAMMA[:, None, None], BETA[:, None, None], 1e-3),
    ),
    "layer_norm, plain": (
        lambda x: mb.layer_norm(x=x, axes=[-2, -1]),
        (X,),
        lambda x: layer_norm(x, (2, 3), 1, 0, 1e-5),
    ),
    "leaky_relu": (
        lambda x: mb.leaky_relu(x=x, alpha=0.1),
        (X,),
        lambda x: np.where(x >= 0, x, np.float32(0.1) * x),
    ),
    "linear": (
        lambda x: mb.linear(x=x, weight=Y[0, 0, :3], bias=BETA),
        (X,),
        lambda x: x @ Y[0, 0, :3].T + BETA,
    ),
    "log": (lambda x: mb.log(x=x, epsilon=0.5), (POSITIVE,), lambda x: np.log(x + 0.5)),
    "matmul": (
        lambda x, y: mb.matmul(x=x, y=y, transpose_y=True),
        (X, Y),
        lambda x, y: x @ y.swapaxes(-2, -1),
    ),
    "matmul, both transposed": (
        lambda x, y: mb.matmul(x=x, y=y, transpose_x=True, transpose_y=True),
        (X, Y.transpose(0, 1, 3, 2).copy()),
        lambda x, y: x.swapaxes(-2, -1) @ y.swapaxes(-2, -1),
    ),
    "maximum": (lambda x, y: mb.maximum(x=x, y=y), (X, Y), np.maximum),
    "minimum": (lambda x, y: mb.minimum(x=x, y=y), (X, Y), np.minimum),
    "mul": (lambda x, y: mb.mul(x=x, y=y), (X, Y), np.multiply),
    "pad": (
        lambda x: mb.pad(x=x, pad=[1, 0, 2, 1], mode="constant", constant_val=0.5),
        (X,),
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 0), (2, 1)), constant_values=0.5),
    ),
    "pow": (lambda x: mb.pow(x=x, y=np.float32(2)), (X,), np.square),
    "prelu": (
        lambda x: mb.prelu(x=x, alpha=GAMMA),
        (X,),
        lambda x: np.where(x > 0, x, x * GAMMA[:, None, None]),
    ),
    "real_div": (lambda x, y: mb.real_div(x=x, y=y), (X, POSITIVE), np.divide),
    "reduce_l2_norm": (
        lambda x: mb.reduce_l2_norm(x=x, axes=[-1], keep_dims=True),
        (X,),
        lambda x: np.sqrt((x**2).sum(-1, keepdims=True)),
    ),
    "reduce_max": (
        lambda x: mb.reduce_max(x=x, axes=[1, 3], keep_dims=False),
        (X,),
        lambda x: x.max((1, 3)),
    ),
    "reduce_mean": (
        lambda x: mb.reduce_mean(x=x, axes=[-1, -2], keep_dims=False),
        (X,),
        lambda x: x.mean((2, 3)),
    ),
    "reduce_min": (
        lambda x: mb.reduce_min(x=x, axes=[0], keep_dims=True),
        (X,),
        lambda x: x.min(0, keepdims=True),
    ),
    "reduce_sum": (
        lambda x: mb.reduce_sum(x=x, axes=[2], keep_dims=False),
        (X,),
        lambda x: x.sum(2),
    ),
    "reduce_sum_square": (
        lambda x: mb.reduce_sum_square(x=x, axes=[2], keep_dims=False),
        (X,),
        lambda x: (x**2).sum(2),
    ),
    "relu": (lambda x: mb.relu(x=x), (X,), lambda x: x.clip(0)),
    "relu6": (
        lambda x: mb.relu6(x=4 * x if isinstance(x, np.ndarray) else mb.mul(x=x, y=4.0)),
        (X,),
        lambda x: (4 * x).clip(0, 6),
    ),
    "reshape": (
        lambda x: mb.reshape(x=x, shape=[0, -1, 2, 5]),
        (X,),
        lambda x: x.reshape(2, 6, 2, 5),
    ),
    "round": (lambda x: mb.round(x=x), (np.float32([-1.5, -0.5, 0.5, 1.5, 2.5]),), np.rint),
    "rsqrt": (
        lambda x: mb.rsqrt(x=x, epsilon=0.25),
        (POSITIVE,),
        lambda x: 1 / np.sqrt(x + 0.25),
    ),
    "sigmoid": (lambda x: mb.sigmoid(x=x), (X,), sigmoid),
    "sigmoid_hard": (
        lambda x: mb.sigmoid_hard(x=x, alpha=0.5, beta=0.25),
        (X,),
        lambda x: (0.5 * x + 0.25).clip(0, 1),
    ),
    "slice_by_index": (
        lambda x: mb.slice_by_index(
            x=x,
            begin=[1, 0, 3, 4],
            end=[2, 2, 0, 0],
            stride=[1, 1, -2, -1],
            begin_mask=[False, True, False, False],
            end_mask=[False, False, False, True],
            squeeze_mask=[True, False, False, False],
        ),
        (X,),
        lambda x: x[1, :2, 3:0:-2, ::-1],
    ),
    "slice_by_size": (
        lambda x: mb.slice_by_size(x=x, begin=[0, 1, 1, -3], size=[2, -1, 2, 2]),
        (X,),
        lambda x: x[:, 1:, 1:3, 2:4],
    ),
    "softmax": (lambda x: mb.softmax(x=x, axis=1), (X,), lambda x: softmax(x, 1)),
    "softplus": (lambda x: mb.softplus(x=x), (X,), lambda x: np.log1p(np.exp(x))),
    "sqrt": (lambda x: mb.sqrt(x=x), (POSITIVE,), np.sqrt),
    "square": (lambda x: mb.square(x=x), (X,), np.square),
    "squeeze": (
        lambda x: mb.squeeze(x=x, axes=[1]),
        (X[:1, :1],),
        lambda x: x[:, 0],
    ),
    "squeeze, all": (lambda x: mb.squeeze(x=x), (X[:1, :1],), lambda x: x[0, 0]),
    "stack": (
        lambda x, y: mb.stack(values=[x, y], axis=2),
        (X, Y),
        lambda x, y: np.stack((x, y), 2),
    ),
    "sub": (lambda x, y: mb.sub(x=x, y=y), (X, Y), np.subtract),
    "tanh": (lambda x: mb.tanh(x=x), (X,), np.tanh),
    "thresholded_relu": (
        lambda x: mb.thresholded_relu(x=x, alpha=-0.5),
        (X,),
        lambda x: np.where(x >= -0.5, x, 0),
    ),
    "tile": (lambda x: mb.tile(x=x, reps=[1, 2, 1, 3]), (X,), lambda x: np.tile(x, (1, 2, 1, 3))),
    "transpose": (
        lambda x: mb.transpose(x=x, perm=[0, 2, -1, 1]),
        (X,),
        lambda x: x.transpose(0, 2, 3, 1),
    ),
}


"""Operators that coremltools can compute itself: their builder, inputs and a reference."""


@pytest.mark.parametrize("name", INFERRED)
def test_operators_agree_with_coremltools(tmp_path: Path, name: str) -> None:
    build, arrays, reference = INFERRED[name]
    (result,) = run(tmp_path, build, *arrays)
    expected = reference(*(a.astype(np.float64) for a in arrays))
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, 2e-6, 2e-6)
    np.testing.assert_allclose(result, inferred(build, *arrays), 2e-6, 2e-6)


def convolved(
    x: np.ndarray,
    w: np.ndarray,
    pads: tuple[int, int, int, int],
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> np.ndarray:
    """A convolution as loops; pads are top, bottom, left, right."""
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), pads[:2], pads[2:]))
    n, (c_out, c_in, kh, kw) = len(x), w.shape
    height = (x.shape[2] - (kh - 1) * dilation - 1) // stride + 1
    width = (x.shape[3] - (kw - 1) * dilation - 1) // stride + 1
    y = np.zeros((n, c_out, height, width))
    for o in range(c_out):
        first = o // (c_out // groups) * c_in
        for i in range(height):
            for j in range(width):
                rows = slice(i * stride, i * stride + (kh - 1) * dilation + 1, dilation)
                columns = slice(j * stride, j * stride + (kw - 1) * dilation + 1, dilation)
                patch = x[:, first : first + c_in, rows, columns]
                y[:, o, i, j] = (patch * w[o]).sum((1, 2, 3))
    return y


IMAGE = normal(2, 4, 7, 6)


BIAS = normal(8)


@pytest.mark.parametrize(
    ("weight", "options", "pads"),
    [
        (normal(8, 4, 3, 3), {"pad_type": "valid"}, (0, 0, 0, 0)),
        (normal(8, 4, 2, 2), {"pad_type": "valid", "strides": [2, 2]}, (0, 0, 0, 0)),
        (normal(8, 4, 3, 2), {"pad_type": "custom", "pad": [2, 1, 0, 3]}, (2, 1, 0, 3)),
        (normal(8, 4, 1, 1), {"pad_type": "same"}, (0, 0, 0, 0)),
        # 7 rows at stride 2 make 4: (4 − 1)·2 + 4 − 7 = 3 rows of padding, one more below
        (normal(8, 4, 4, 4), {"pad_type": "same", "strides": [2, 2]}, (1, 2, 1, 1)),
        (normal(8, 4, 4, 4), {"pad_type": "same_lower", "strides": [2, 2]}, (2, 1, 1, 1)),
        (normal(8, 4, 3, 3), {"pad_type": "same", "dilations": [2, 2]}, (2, 2, 2, 2)),
        (normal(8, 1, 3, 3), {"pad_type": "same", "groups": 4}, (1, 1, 1, 1)),
        (normal(8, 2, 3, 3), {"pad_type": "same", "groups": 2}, (1, 1, 1, 1)),
    ],
)
def test_convolutions(
    tmp_path: Path, weight: np.ndarray, options: dict[str, Any], pads: tuple[int, int, int, int]
) -> None:
    (result,) = run(tmp_path, lambda x: mb.conv(x=x, weight=weight, bias=BIAS, **options), IMAGE)
    stride, dilation = options.get("strides", [1])[0], options.get("dilations", [1])[0]
    expected = convolved(IMAGE, weight, pads, stride, dilation, options.get("groups", 1))
    np.testing.assert_allclose(result, expected + BIAS[:, None, None], 1e-5, 1e-5)


def test_convolutions_of_one_axis_and_without_bias(tmp_path: Path) -> None:
    weight = normal(8, 4, 3)
    rows = IMAGE[:, :, 0]
    (result,) = run(tmp_path, lambda x: mb.conv(x=x, weight=weight, pad_type="same"), rows)
    expected = convolved(IMAGE[:, :, :1], weight[:, :, None], (0, 0, 1, 1))
    np.testing.assert_allclose(result, expected[:, :, 0], 1e-5, 1e-5)


def test_pooling(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        full = {"kernel_sizes": [7, 6], "pad_type": "valid"}
        strided = {"kernel_sizes": [3, 3], "strides": [2, 2], "pad_type": "same"}
        return (
            mb.avg_pool(x=x, **full),
            mb.avg_pool(x=x, **strided),
            mb.avg_pool(x=x, exclude_padding_from_average=True, **strided),
            mb.max_pool(x=x, **strided),
        )

    mean, padded, excluded, largest = run(tmp_path, build, IMAGE)
    np.testing.assert_allclose(mean, IMAGE.mean((2, 3), keepdims=True), 1e-5, 1e-6)
    depthwise = np.ones((4, 1, 3, 3))
    sums = convolved(IMAGE, depthwise, (1, 1, 0, 1), 2, groups=4)
    counts = convolved(np.ones_like(IMAGE), depthwise, (1, 1, 0, 1), 2, groups=4)
    np.testing.assert_allclose(padded, sums / 9, 1e-5, 1e-6)
    np.testing.assert_allclose(excluded, sums / counts, 1e-5, 1e-6)
    assert largest[0, 0, 1, 1] == IMAGE[0, 0, 1:4, 2:5].max()
    assert largest[0, 0, 0, 0] == IMAGE[0, 0, :2, :3].max()


def test_norms_by_constants_and_by_image(tmp_path: Path) -> None:
    mean, variance, gamma, beta = normal(4), np.abs(normal(4)), normal(4), normal(4)

    def build(x: Any) -> Any:
        affine = {"gamma": gamma, "beta": beta, "epsilon": 1e-3}
        return (
            mb.batch_norm(x=x, mean=mean, variance=variance, **affine),
            mb.batch_norm(x=x, mean=mean, variance=variance),
            mb.instance_norm(x=x, **affine),
            mb.l2_norm(x=x, epsilon=1e-3),
        )

    batch, plain, instance, length = run(tmp_path, build, IMAGE)
    m, v, g, b = (a[:, None, None].astype(np.float64) for a in (mean, variance, gamma, beta))
    np.testing.assert_allclose(batch, (IMAGE - m) / np.sqrt(v + 1e-3) * g + b, 1e-4, 1e-5)
    np.testing.assert_allclose(plain, (IMAGE - m) / np.sqrt(v + 1e-5), 1e-4, 1e-5)
    np.testing.assert_allclose(instance, layer_norm(IMAGE, (2, 3), g, b, 1e-3), 1e-4, 1e-5)
    lengths = np.sqrt((IMAGE.astype(np.float64) ** 2).sum((1, 2, 3), keepdims=True) + 1e-3)
    np.testing.assert_allclose(length, IMAGE / lengths, 1e-5, 1e-6)


def test_split_select_and_compare(tmp_path: Path) -> None:
    def build(x: Any, y: Any) -> Any:
        uneven = mb.split(x=x, split_sizes=[1, 3, 1], axis=-1)
        halves = mb.split(x=x, num_splits=2, axis=2)
        larger = mb.select(cond=mb.greater(x=x, y=y), a=x, b=y)
        return uneven[1], halves[1], larger, mb.silu(x=x), mb.identity(x=y)

    middle, half, larger, silu, same = run(tmp_path, build, X, Y)
    assert np.array_equal(middle, X[..., 1:4])
    assert np.array_equal(half, X[:, :, 2:])
    assert np.array_equal(larger, np.maximum(X, Y))
    np.testing.assert_allclose(silu, X * sigmoid(X), 1e-5, 1e-6)
    assert np.array_equal(same, Y)
