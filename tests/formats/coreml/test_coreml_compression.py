"""Quantized activations, compressed weights and half precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from edgenext.formats.coreml import program as mil_program
from edgenext.formats.coreml import session as coreml
from edgenext.formats.coreml.convert import COMPRESSIONS
from edgenext.formats.coreml.session import MilProgram

with mil_program.warnings_hidden():
    ct = pytest.importorskip("coremltools", reason="coremltools is not installed")
    coreml.preload()
    import coremltools.optimize.coreml as cto
    from coremltools.converters.mil import Builder as mb  # noqa: N813 # as coremltools has it
    from coremltools.converters.mil.mil import types
from mil_packages import (
    IGNORED_WARNINGS,
    MATRIX,
    WEIGHT,
    X,
    inferred,
    linear,
    normal,
    package,
    run,
    save,
    weighted,
)

pytestmark = IGNORED_WARNINGS

WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


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


def test_activations_with_a_scale_per_channel(tmp_path: Path) -> None:
    scale, zero_point = np.float32([0.1, 0.02, 0.3]), np.int8([0, -5, 7])
    vectors = {"scale": scale, "zero_point": zero_point, "axis": 1}

    def build(x: Any) -> Any:
        return mb.dequantize(input=mb.quantize(input=x, output_dtype="int8", **vectors), **vectors)

    (result,) = run(tmp_path, build, X)
    s, z = scale[:, None, None], zero_point[:, None, None].astype(np.float32)
    levels = (np.rint(X / s) + z).clip(-128, 127)
    np.testing.assert_allclose(result, (levels - z) * s, 1e-6)


def unpacked(path: Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Of every compressed weight: its kind, as the interpreter and as coremltools unpack it."""
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
    result = unpacked(weighted(tmp_path, target, compress, half))
    assert [k for k, _, _ in result] == [f"constexpr_{kind}"] * 2
    for (_, actual, expected), original in zip(result, (WEIGHT, MATRIX), strict=True):
        assert np.array_equal(actual, expected)
        assert np.std(actual - original) < error * np.std(original)


def test_palettes_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    # one thread and two give these weights other palettes in scikit-learn's k-means
    weight = np.random.default_rng(17).normal(size=(96, 96)).astype(np.float16)

    def build(x: Any) -> Any:
        return mb.linear(x=x, weight=weight, bias=np.zeros(96, np.float16))

    path = package(tmp_path, build, np.zeros((1, 96), np.float16), target="iOS16")
    files = []
    for threads in (1, 2):
        with mil_program.warnings_hidden(), threadpool_limits(threads):
            small = COMPRESSIONS["w6-palettized"](
                ct.models.MLModel(str(path), skip_model_load=True)
            )
        files.append((save(small, tmp_path, str(threads)) / WEIGHTS).read_bytes())
    assert files[0] == files[1]


def test_palettes_of_vectors(tmp_path: Path) -> None:
    indices = np.array([[0, 1, 3], [2, 2, 0]], types.nptype_from_builtin(types.uint2))
    lut = normal(1, 1, 4, 2)

    def build(x: Any) -> Any:
        y = mb.constexpr_lut_to_dense(indices=indices, lut=lut, vector_axis=np.int32(0))
        return mb.mul(x=x, y=y)

    (result,) = run(tmp_path, build, np.ones((4, 3), np.float32))
    expected = lut[0, 0][indices].transpose(0, 2, 1).reshape(4, 3)
    assert np.array_equal(result, expected)


def test_weights_stored_in_half_precision(tmp_path: Path) -> None:
    weight = normal(5).astype(np.float16)

    def build(x: Any) -> Any:
        return mb.mul(x=x, y=mb.constexpr_cast(source_val=weight, output_dtype="fp32"))

    (result,) = run(tmp_path, build, np.ones(5, np.float32), target="iOS16")
    assert result.dtype == np.float32
    assert np.array_equal(result, weight.astype(np.float32))
