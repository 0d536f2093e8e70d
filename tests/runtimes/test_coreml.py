"""The interpreter of Core ML packages, operator by operator and on whole networks."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from golden import weights as golden

from edgenext.artifact import Artifact
from edgenext.errors import ArtifactError, EdgenextError, MissingDependencyError, RuntimeFailedError
from edgenext.graph.forms import Deployable
from edgenext.models import zoo
from edgenext.runtimes import coreml, mil_program
from edgenext.runtimes.coreml import CoreMLSession, MilProgram
from edgenext.runtimes.fidelity import fidelity
from edgenext.schema import EvalTransform, Manifest, TensorSpec

with mil_program.warnings_hidden():
    ct = pytest.importorskip("coremltools", reason="coremltools is not installed")
    coreml.preload()
    import coremltools.optimize.coreml as cto
    from coremltools.converters.mil import Builder as mb  # noqa: N813 # as coremltools has it
    from coremltools.converters.mil.mil import types

pytestmark = [
    # what coremltools and its use of torch.export warn of is theirs to mend
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning:coremltools"),
]

Build = Callable[..., Any]
RNG = np.random.default_rng(0)
FLOATS = {np.dtype(np.float32): types.fp32, np.dtype(np.float16): types.fp16}
PIXELS = RNG.integers(0, 256, (1, 8, 8, 3), np.uint8)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(0, 1.5, shape).astype(np.float32)


def convert(program: Any, target: str = "iOS18", **options: Any) -> Any:
    with mil_program.warnings_hidden():
        return ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=getattr(ct.target, target),
            skip_model_load=True,
            **options,
        )


def save(model: Any, folder: Path, name: str = "it") -> Path:
    path = folder / f"{name}.mlpackage"
    with mil_program.warnings_hidden():
        model.save(str(path))
    return path


def package(folder: Path, build: Build, *arrays: np.ndarray, target: str = "iOS18") -> Path:
    """A package of what `build` makes of inputs x, y, … like `arrays`."""
    specs = [mb.TensorSpec(a.shape, FLOATS[a.dtype]) for a in arrays]
    body: Build = {1: lambda x: build(x), 2: lambda x, y: build(x, y)}[len(arrays)]
    with mil_program.warnings_hidden():
        program = mb.program(input_specs=specs, opset_version=getattr(ct.target, target))(body)
    kept_as_it_is = {
        "pass_pipeline": ct.PassPipeline.EMPTY,
        "compute_precision": ct.precision.FLOAT32,
    }
    return save(convert(program, target, **kept_as_it_is), folder)


def run(folder: Path, build: Build, *arrays: np.ndarray, target: str = "iOS18") -> list[np.ndarray]:
    program = MilProgram(package(folder, build, *arrays, target=target))
    given = program.run(dict(zip("xy", arrays, strict=False)))
    return [given[name] for name in program.outputs]


def inferred(build: Build, *arrays: np.ndarray) -> np.ndarray:
    """What coremltools itself makes of constants."""
    found = []

    def body(unused: Any) -> Any:
        found.append(build(*(a.copy() for a in arrays)).val)
        return mb.identity(x=unused)

    with mil_program.warnings_hidden():
        mb.program(input_specs=[mb.TensorSpec((1,))], opset_version=ct.target.iOS18)(body)
    return np.asarray(found[0])


def erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf)(x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def layer_norm(
    x: np.ndarray, axes: tuple[int, ...], gamma: Any, beta: Any, eps: float
) -> np.ndarray:
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + eps) * gamma + beta


X, Y = normal(2, 3, 4, 5), normal(2, 3, 4, 5)
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
"""Operators that coremltools can compute itself: how they are built, of what, and a reference."""


@pytest.mark.parametrize("name", INFERRED)
def test_operators_that_coremltools_computes_too(tmp_path: Path, name: str) -> None:
    build, arrays, reference = INFERRED[name]
    (found,) = run(tmp_path, build, *arrays)
    expected = reference(*(a.astype(np.float64) for a in arrays))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, 2e-6, 2e-6)
    np.testing.assert_allclose(found, inferred(build, *arrays), 2e-6, 2e-6)


def convolved(
    x: np.ndarray,
    w: np.ndarray,
    pads: tuple[int, int, int, int],
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> np.ndarray:
    """Convolution written out: pads are top, bottom, left, right."""
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
                seen = x[:, first : first + c_in, rows, columns]
                y[:, o, i, j] = (seen * w[o]).sum((1, 2, 3))
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
    (found,) = run(tmp_path, lambda x: mb.conv(x=x, weight=weight, bias=BIAS, **options), IMAGE)
    stride, dilation = options.get("strides", [1])[0], options.get("dilations", [1])[0]
    expected = convolved(IMAGE, weight, pads, stride, dilation, options.get("groups", 1))
    np.testing.assert_allclose(found, expected + BIAS[:, None, None], 1e-5, 1e-5)


def test_convolutions_of_one_axis_and_without_bias(tmp_path: Path) -> None:
    weight = normal(8, 4, 3)
    (found,) = run(tmp_path, lambda x: mb.conv(x=x, weight=weight, pad_type="same"), IMAGE[:, :, 0])
    expected = convolved(IMAGE[:, :, :1], weight[:, :, None], (0, 0, 1, 1))
    np.testing.assert_allclose(found, expected[:, :, 0], 1e-5, 1e-5)


def test_pooling(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        whole = {"kernel_sizes": [7, 6], "pad_type": "valid"}
        some = {"kernel_sizes": [3, 3], "strides": [2, 2], "pad_type": "same"}
        return (
            mb.avg_pool(x=x, **whole),
            mb.avg_pool(x=x, **some),
            mb.avg_pool(x=x, exclude_padding_from_average=True, **some),
            mb.max_pool(x=x, **some),
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


def test_parts_choices_and_comparisons(tmp_path: Path) -> None:
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


def test_results_are_rounded_to_half_precision(tmp_path: Path) -> None:
    x, y = normal(1, 4, 33).astype(np.float16), normal(1, 33, 4).astype(np.float16)

    def build(x: Any, y: Any) -> Any:
        product = mb.matmul(x=x, y=y)
        third = mb.real_div(x=product, y=np.float16(3))
        far = mb.mul(x=product, y=np.float16(60000))
        return product, mb.sub(x=mb.add(x=third, y=np.float16(1000)), y=np.float16(1000)), far

    product, shifted, far = run(tmp_path, build, x, y)
    # float32 within an operator, half precision between two
    expected = (x.astype(np.float32) @ y.astype(np.float32)).astype(np.float16)
    assert product.dtype == np.float16
    np.testing.assert_allclose(product, expected, 1e-3)
    third = (product.astype(np.float32) / 3).astype(np.float16)
    coarse = ((third.astype(np.float32) + 1000).astype(np.float16) - np.float16(1000)).astype(
        np.float16
    )
    assert np.array_equal(shifted, coarse)
    assert not np.array_equal(shifted, third)
    assert np.isinf(far).any()


@pytest.mark.parametrize(
    ("dtype", "zero_point", "expected"),
    [
        ("int8", None, [-128, -128, -2, -2, -2, 0, 0, 0, 2, 2, 127, 127]),
        ("int8", 10, [-128, -128, 8, 8, 8, 10, 10, 10, 12, 12, 127, 127]),
        ("uint8", 128, [0, 0, 126, 126, 126, 128, 128, 128, 130, 130, 255, 255]),
        ("uint8", None, [0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 200, 255]),
    ],
)
def test_activations_saturate_and_round_half_to_even(
    tmp_path: Path, dtype: str, zero_point: int | None, expected: list[int]
) -> None:
    steps = [-1000, -300.5, -2.5, -2, -1.5, -0.5, 0, 0.5, 1.5, 2.5, 200, 1000]
    x = np.float32(steps) * np.float32(0.25)
    shift = {} if zero_point is None else {"zero_point": np.dtype(dtype).type(zero_point)}

    def quantized(x: Any) -> Any:
        return mb.quantize(input=x, scale=np.float32(0.25), output_dtype=dtype, **shift)

    def build(x: Any) -> Any:
        return mb.dequantize(input=quantized(x), scale=np.float32(0.25), **shift)

    program = MilProgram(package(tmp_path, build, x, target="iOS17"))
    values = program.run({"x": x}, trace=True)
    stored, back = (values[name] for name in list(values)[1:3])
    assert stored.dtype == np.dtype(dtype)
    assert stored.tolist() == expected
    assert stored.tolist() == inferred(quantized, x).tolist()
    assert np.array_equal(back, (np.float32(expected) - (zero_point or 0)) * np.float32(0.25))


def test_activations_with_a_scale_a_channel(tmp_path: Path) -> None:
    scale, zero_point = np.float32([0.1, 0.02, 0.3]), np.int8([0, -5, 7])
    vectors = {"scale": scale, "zero_point": zero_point, "axis": 1}

    def build(x: Any) -> Any:
        return mb.dequantize(input=mb.quantize(input=x, output_dtype="int8", **vectors), **vectors)

    (found,) = run(tmp_path, build, X)
    s, z = scale[:, None, None], zero_point[:, None, None].astype(np.float32)
    levels = (np.rint(X / s) + z).clip(-128, 127)
    np.testing.assert_allclose(found, (levels - z) * s, 1e-6)


WEIGHT, MATRIX = normal(32, 64, 3, 3) / 20, normal(16, 32) / 5


def weighted(folder: Path, target: str, compress: Callable[[Any], Any], half: bool = False) -> Path:
    """A package of a convolution and a linear layer, whose weights are compressed."""
    dtype = np.float16 if half else np.float32

    def build(x: Any) -> Any:
        y = mb.conv(x=x, weight=WEIGHT.astype(dtype), pad_type="same")
        y = mb.reduce_mean(x=y, axes=[2, 3], keep_dims=False)
        return mb.linear(x=y, weight=MATRIX.astype(dtype), bias=np.zeros(16, dtype))

    x = np.zeros((1, 64, 4, 4), dtype)
    path = package(folder, build, x, target=target)
    with mil_program.warnings_hidden():
        small = compress(ct.models.MLModel(str(path), skip_model_load=True))
    return save(small, folder, "small")


def unpacked(path: Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Kind, what the interpreter unpacks, what coremltools unpacks, of every compressed weight."""
    _, main = mil_program.read_program(path)
    program = MilProgram(path)
    x = np.zeros((1, 64, 4, 4), np.float32)
    assert program.run({"x": x})[program.outputs[0]].shape == (1, 16)
    return [
        (
            op.op_type,
            program.weights[op.outputs[0].name].float().numpy(),
            np.asarray(op.materialized_val_inference(), np.float32),
        )
        for op in main.operations
        if op.op_type.startswith("constexpr_")
    ]


def linear(**options: Any) -> Callable[[Any], Any]:
    config = cto.OpLinearQuantizerConfig(weight_threshold=0, **options)
    return lambda m: cto.linear_quantize_weights(m, cto.OptimizationConfig(global_config=config))


def palette(**options: Any) -> Callable[[Any], Any]:
    config = cto.OpPalettizerConfig(weight_threshold=0, **options)
    return lambda m: cto.palettize_weights(m, cto.OptimizationConfig(global_config=config))


INT4_BLOCKS = {"dtype": "int4", "granularity": "per_block", "block_size": 16}


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    ("target", "compress", "kind", "error"),
    [
        ("iOS16", linear(mode="linear_symmetric"), "affine_dequantize", 0.01),
        ("iOS16", linear(mode="linear", dtype="uint8"), "affine_dequantize", 0.01),
        ("iOS18", linear(mode="linear_symmetric"), "blockwise_shift_scale", 0.01),
        ("iOS18", linear(mode="linear"), "blockwise_shift_scale", 0.01),
        ("iOS18", linear(mode="linear_symmetric", **INT4_BLOCKS), "blockwise_shift_scale", 0.15),
        ("iOS18", linear(mode="linear", **INT4_BLOCKS), "blockwise_shift_scale", 0.15),
        ("iOS16", palette(mode="uniform", nbits=6), "lut_to_dense", 0.04),
        ("iOS16", palette(mode="kmeans", nbits=4), "lut_to_dense", 0.12),
        ("iOS18", palette(mode="uniform", nbits=8), "lut_to_dense", 0.012),
        ("iOS18", palette(mode="kmeans", nbits=3), "lut_to_dense", 0.25),
        (
            "iOS18",
            palette(mode="kmeans", nbits=4, granularity="per_grouped_channel", group_size=8),
            "lut_to_dense",
            0.12,
        ),
    ],
)
def test_compressed_weights(
    tmp_path: Path,
    target: str,
    compress: Callable[[Any], Any],
    kind: str,
    error: float,
    half: bool,
) -> None:
    found = unpacked(weighted(tmp_path, target, compress, half))
    assert [k for k, _, _ in found] == [f"constexpr_{kind}"] * 2
    for (_, ours, theirs), original in zip(found, (WEIGHT, MATRIX), strict=True):
        assert np.array_equal(ours, theirs)
        assert np.std(ours - original) < error * np.std(original)


def test_palettes_of_vectors(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 3], [2, 2, 0]], types.nptype_from_builtin(types.uint2))
    lut = normal(1, 1, 4, 2)

    def build(x: Any) -> Any:
        y = mb.constexpr_lut_to_dense(indices=indices, lut=lut, vector_axis=np.int32(0))
        return mb.mul(x=x, y=y)

    (found,) = run(tmp_path, build, np.ones((4, 3), np.float32))
    expected = lut[0, 0][indices].transpose(0, 2, 1).reshape(4, 3)
    assert np.array_equal(found, expected)


def test_weights_stored_in_half_precision(tmp_path: Path) -> None:
    weight = normal(5).astype(np.float16)

    def build(x: Any) -> Any:
        return mb.mul(x=x, y=mb.constexpr_cast(source_val=weight, output_dtype="fp32"))

    (found,) = run(tmp_path, build, np.ones(5, np.float32), target="iOS16")
    assert found.dtype == np.float32
    assert np.array_equal(found, weight.astype(np.float32))


def test_an_operator_that_is_not_known(tmp_path: Path) -> None:
    path = package(tmp_path, lambda x: mb.cumsum(x=x, axis=1, name="running"), X)
    with pytest.raises(RuntimeFailedError, match=r"it\.mlpackage: no operator 'cumsum'.*'running'"):
        MilProgram(path)


def test_what_an_operator_does_not_emulate(tmp_path: Path) -> None:
    path = package(
        tmp_path,
        lambda x: mb.avg_pool(
            x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="valid", ceil_mode=True, name="few"
        ),
        X[:, :, :, :4],
    )
    with pytest.raises(RuntimeFailedError, match=r"compute 'few', a avg_pool: ceil_mode"):
        MilProgram(path).run({"x": X[:, :, :, :4]})


def test_inputs_that_do_not_fit(tmp_path: Path) -> None:
    program = MilProgram(package(tmp_path, lambda x: mb.relu(x=x), X))
    with pytest.raises(RuntimeFailedError, match="no input 'x'"):
        program.run({"image": X})
    with pytest.raises(RuntimeFailedError, match=r"'x' is \(1, 3, 4, 5\), the program takes \(2"):
        program.run({"x": X[:1]})


def test_a_trace_has_every_variable_and_a_run_the_outputs(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        y = mb.relu(x=x, name="first")
        return mb.square(x=mb.exp(x=y, name="second"), name="third")

    program = MilProgram(package(tmp_path, build, X))
    assert list(program.run({"x": X})) == ["third"]
    assert list(program.run({"x": X}, also=("first",))) == ["third", "first"]
    values = program.run({"x": X}, trace=True)
    assert list(values) == ["x", "first", "second", "third"]
    assert program.operators() == {"relu": 1, "exp": 1, "square": 1}
    np.testing.assert_allclose(values["second"], np.exp(X.clip(0)), 1e-6)


WEIGHTS = Path("Data", "com.apple.CoreML", "weights", "weight.bin")
MODEL = Path("Data", "com.apple.CoreML", "model.mlmodel")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with weights in a file."""
    folder = tmp_path_factory.mktemp("whole")
    return weighted(folder, "iOS18", linear(mode="linear_symmetric"))


def copy(package: Path, folder: Path) -> Path:
    path = folder / package.name
    for source in package.rglob("*"):
        if source.is_file():
            to = path / source.relative_to(package)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(source.read_bytes())
    return path


@pytest.mark.parametrize(
    ("file", "keep", "says"),
    [
        (Path("Manifest.json"), None, "is no Core ML package: No such file"),
        (Path("Manifest.json"), 40, r"is no Core ML package: Manifest\.json is broken"),
        (MODEL, None, r"is no Core ML package: Data/com\.apple\.CoreML/model\.mlmodel is missing"),
        (MODEL, 1000, "cannot be read: .*"),
        (MODEL, 0, "is a model of no kind, not an ML program"),
        (WEIGHTS, None, r"cannot be read: Could not open .*weight\.bin"),
        (WEIGHTS, 0, r"cannot be read: .*weight\.bin"),
        (WEIGHTS, 100, "cannot be read: index out of bounds"),
        (WEIGHTS, 5000, "cannot be read: index out of bounds"),
    ],
)
def test_packages_that_are_not_whole(
    tmp_path: Path, whole: Path, file: Path, keep: int | None, says: str
) -> None:
    path = copy(whole, tmp_path)
    if keep is None:
        (path / file).unlink()
    else:
        (path / file).write_bytes((path / file).read_bytes()[:keep])
    with pytest.raises(EdgenextError, match=f"{path.name} {says}") as caught:
        MilProgram(path)
    assert caught.type is ArtifactError
    assert "\n" not in str(caught.value)


def test_what_is_no_package_of_an_ml_program(tmp_path: Path, whole: Path) -> None:
    with pytest.raises(ArtifactError, match="is no Core ML package: No such file"):
        MilProgram(tmp_path / "absent.mlpackage")
    (tmp_path / "file.mlpackage").write_bytes(b"\x08\x09 not a folder")
    with pytest.raises(ArtifactError, match="is no Core ML package: Not a directory"):
        MilProgram(tmp_path / "file.mlpackage")
    foreign = copy(whole, tmp_path)
    spec = ct.proto.Model_pb2.Model(specificationVersion=4)
    spec.neuralNetwork.layers.add(name="a layer")
    (foreign / MODEL).write_bytes(spec.SerializeToString())
    with pytest.raises(ArtifactError, match="is a neuralNetwork, not an ML program"):
        MilProgram(foreign)


class Classifier(torch.nn.Module):
    """Two convolutions' worth of logits, and what is made of them."""

    def __init__(self, normalised: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.normalised = torch.nn.Conv2d(3, 5, 8), normalised

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.conv(x).flatten(1)
        return logits.softmax(-1) if self.normalised else logits.square()


def exported(net: torch.nn.Module, size: int, batch: int = 1) -> Any:
    example = torch.zeros(batch, 3, size, size)
    return torch.export.export(net.eval(), (example,)).run_decompositions({})


def classifier(folder: Path, normalised: bool = True, layout: str = "RGB", **options: Any) -> Path:
    image = ct.ImageType(
        "image",
        shape=(1, 3, 8, 8),
        scale=1 / 127.5,
        bias=[-1, -0.5, -0.25],
        color_layout=getattr(ct.colorlayout, layout),
    )
    return save(convert(exported(Classifier(normalised), 8), inputs=[image], **options), folder)


def manifest(shape: tuple[int, ...], dtype: str = "float32", **fields: Any) -> Manifest:
    about = {
        "file": "it.mlpackage",
        "format": "coreml",
        "eval": EvalTransform(size=shape[-1], crop_pct=1.0),
        "input": TensorSpec(name="image", shape=shape, dtype=dtype),
        "outputs": (TensorSpec(name="logits", shape=(shape[0], 1000), dtype="float32"),),
        "labels": None,
    }
    return (
        Manifest.model_construct(**about, **fields)
        if not fields
        else Manifest.model_construct(**{**about, **fields})
    )


NAMES = ("ant", "bee", "cat", "dog", "eel")
PICTURE = manifest((1, 8, 8, 3), "uint8", labels=NAMES)


def scaled(layout: str) -> torch.Tensor:
    """What an image type with those constants makes of `PIXELS`."""
    image = PIXELS[..., ::-1] if layout == "BGR" else PIXELS
    x = image.transpose(0, 3, 1, 2).astype(np.float64) / 127.5
    return torch.from_numpy((x + np.array([-1, -0.5, -0.25])[:, None, None]).astype(np.float32))


@pytest.mark.parametrize("layout", ["RGB", "BGR"])
def test_images_are_scaled_by_the_program(tmp_path: Path, layout: str) -> None:
    fp32 = {"compute_precision": ct.precision.FLOAT32}
    program = MilProgram(classifier(tmp_path, layout=layout, **fp32))
    assert program.images == {"image": layout}
    found = program.run({"image": PIXELS})[program.outputs[0]]
    with torch.inference_mode():
        expected = Classifier(True)(scaled(layout)).numpy()
    np.testing.assert_allclose(found, expected, 1e-4)
    with pytest.raises(RuntimeFailedError, match="cannot be fed as"):
        program.run({"image": PIXELS.transpose(0, 3, 1, 2)})


@pytest.mark.parametrize("names", [NAMES, NAMES[::-1], (NAMES[1], NAMES[0], *NAMES[2:])])
def test_logits_of_a_classifier_in_the_order_of_the_manifest(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    path = classifier(tmp_path, classifier_config=ct.ClassifierConfig(list(names)))
    program = MilProgram(path)
    with torch.inference_mode():
        expected = Classifier(False).conv(scaled("RGB")).flatten(1).numpy()
    found = program.run({"image": PIXELS})
    assert found["classLabel"].tolist() == [names[int(expected.argmax())]]
    np.testing.assert_allclose(found["classLabel_probs"], softmax(expected, 1), 5e-3)
    session = CoreMLSession(path, PICTURE, 1)
    order = [names.index(name) for name in NAMES]
    logits = session.infer(session.prepare(PIXELS))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected[:, order], 5e-3, 5e-3)


def test_classes_may_be_numbers(tmp_path: Path) -> None:
    path = classifier(tmp_path, classifier_config=ct.ClassifierConfig([4, 3, 2, 1, 0]))
    assert MilProgram(path).classes == ("4", "3", "2", "1", "0")
    found = MilProgram(path).run({"image": PIXELS})
    assert found["classLabel"].tolist() == [4 - int(found["classLabel_probs"].argmax())]
    session = CoreMLSession(path, PICTURE.model_copy(update={"labels": None}), 1)
    assert session.infer(PIXELS).shape == (1, 5)


def test_a_classifier_without_a_softmax_gives_logarithms(tmp_path: Path) -> None:
    path = classifier(
        tmp_path, normalised=False, classifier_config=ct.ClassifierConfig(list(NAMES))
    )
    session = CoreMLSession(path, PICTURE, 1)
    values = session.trace(PIXELS)["classLabel_probs"]
    np.testing.assert_allclose(session.infer(PIXELS), np.log(values), 1e-5)


def test_labels_that_are_not_those_of_the_manifest(tmp_path: Path) -> None:
    path = classifier(tmp_path, classifier_config=ct.ClassifierConfig(list("abcde")))
    with pytest.raises(ArtifactError, match=r"it\.mlpackage has other labels than its manifest"):
        CoreMLSession(path, PICTURE, 1)


def network(arch: str, form: str) -> Deployable:
    net = zoo.create_model(arch)
    net.load_state_dict(golden.state(arch))
    return Deployable(net.eval(), form, 64, 64)


def network_package(folder: Path, net: Deployable, precision: str, batch: int = 1) -> Path:
    names = ("logits", "stem", *(f"stage{i}" for i in range(4)))
    outputs = [ct.TensorType(name, dtype=np.float32) for name in names]
    inputs = [ct.TensorType("image", shape=(batch, 3, 64, 64), dtype=np.float32)]
    how = getattr(ct.precision, precision)
    model = convert(
        exported(net, 64, batch), "iOS17", inputs=inputs, outputs=outputs, compute_precision=how
    )
    return save(model, folder)


IMAGES = RNG.integers(0, 256, (2, 64, 64, 3), np.uint8)
NETWORK = manifest((2, 3, 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "form"),
    [
        ("edgenext_xx_small", "convT"),
        ("edgenext_xx_small", "convC"),
        ("edgenext_xx_small", "naive"),
        ("edgenext_xx_small_bn_hs", "convT"),
        ("edgenext_xx_small_bn_hs", "naive"),
    ],
)
def test_networks_agree_with_torch(tmp_path: Path, arch: str, form: str) -> None:
    net = network(arch, form)
    for precision, least in (("FLOAT32", 100), ("FLOAT16", 45)):
        folder = tmp_path / precision
        folder.mkdir()
        path = network_package(folder, net, precision, batch=2)
        session = coreml.open_artifact(Artifact(path, NETWORK), 1)
        assert (session.runtime, session.evidence) == ("coreml-interpreter", "emulated")
        assert session.batch == 2
        prepared = session.prepare(IMAGES)
        with torch.inference_mode():
            logits, *features = (t.numpy() for t in net(torch.from_numpy(prepared)))
        found = session.infer(prepared)
        assert (found.dtype, found.shape) == (np.float32, (2, 1000))
        assert fidelity(logits, found).sqnr_db > least
        values = session.trace(prepared)
        assert np.array_equal(values["logits"], found)
        assert {value.dtype for value in values.values()} == {np.dtype(np.float32)}
        assert "image" not in values
        for name, expected in zip(("stem", "stage3"), features[::4], strict=True):
            assert fidelity(expected.reshape(2, -1), values[name].reshape(2, -1)).sqnr_db > least


def test_threads_are_those_of_before(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    path = package(tmp_path, lambda x: mb.relu(x=x, name="logits"), X)
    about = manifest((2, 3, 4, 5))
    spec = about.input.model_copy(update={"name": "x"})
    session = CoreMLSession(path, about.model_copy(update={"input": spec}), 2)
    assert np.array_equal(session.infer(X), X.clip(0).reshape(2, -1))
    assert torch.get_num_threads() == before


class Phone:
    """Stands for a package in Core ML, which only macOS has."""

    def __init__(self, program: MilProgram) -> None:
        self.program = program

    def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        found = self.program.run({"image": np.asarray(inputs["image"])[None]})
        probabilities = dict(zip(self.program.classes, found["classLabel_probs"][0], strict=True))
        return {"classLabel": found["classLabel"][0], "classLabel_probs": probabilities}


def test_on_macos_core_ml_itself_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = classifier(tmp_path, classifier_config=ct.ClassifierConfig(list(NAMES[::-1])))
    elsewhere = CoreMLSession(path, PICTURE, 1).infer(PIXELS)
    monkeypatch.setattr(coreml, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(coreml, "device_model", lambda package: Phone(MilProgram(package)))
    session = CoreMLSession(path, PICTURE, 1)
    assert (session.runtime, session.evidence) == ("coreml", "device")
    found = session.infer(session.prepare(PIXELS))
    np.testing.assert_allclose(softmax(found, 1), softmax(elsewhere, 1), 5e-3)
    with pytest.raises(
        RuntimeFailedError, match=r"Core ML cannot run it\.mlpackage: .*cannot be fed"
    ):
        session.infer(PIXELS[..., 0])


def test_core_ml_refuses_in_one_line(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise Exception("compiler error")

    monkeypatch.setattr(ct.models, "MLModel", refuse)
    with pytest.raises(RuntimeFailedError, match=r"Core ML cannot load small\.mlpackage: compiler"):
        coreml.device_model(whole)


def test_without_the_package(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgenext\[coreml\]'"):
        MilProgram(whole)


@pytest.mark.slow
def test_coremltools_is_quiet(whole: Path) -> None:
    code = (
        "import sys, logging; from pathlib import Path; from edgenext.runtimes import coreml; "
        f"coreml.MilProgram(Path({str(whole)!r})); "
        "print(logging.root.manager.disable)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stderr == ""
    assert said.stdout.split() == ["0"]
