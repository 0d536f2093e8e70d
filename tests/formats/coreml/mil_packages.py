"""Packages of a few operators, and their results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgenext.formats.coreml import program as mil_program
from edgenext.formats.coreml import session as coreml
from edgenext.formats.coreml.session import MilProgram

with mil_program.warnings_hidden():
    ct = pytest.importorskip("coremltools", reason="coremltools is not installed")
    coreml.preload()
    import coremltools.optimize.coreml as cto
    from coremltools.converters.mil import Builder as mb  # noqa: N813 # as coremltools has it
    from coremltools.converters.mil.mil import types

IGNORED_WARNINGS = [
    # from coremltools and its use of torch.export
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning:coremltools"),
]
"""Marks of every test that calls coremltools."""

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
    """A package of the operators in `build`, of inputs x and y like `arrays`."""
    specs = [mb.TensorSpec(a.shape, FLOATS[a.dtype]) for a in arrays]
    body: Build = {1: lambda x: build(x), 2: lambda x, y: build(x, y)}[len(arrays)]
    with mil_program.warnings_hidden():
        program = mb.program(input_specs=specs, opset_version=getattr(ct.target, target))(body)
    unchanged = {
        "pass_pipeline": ct.PassPipeline.EMPTY,
        "compute_precision": ct.precision.FLOAT32,
    }
    return save(convert(program, target, **unchanged), folder)


def run(folder: Path, build: Build, *arrays: np.ndarray, target: str = "iOS18") -> list[np.ndarray]:
    program = MilProgram(package(folder, build, *arrays, target=target))
    results = program.run(dict(zip("xy", arrays, strict=False)))
    return [results[name] for name in program.outputs]


def inferred(build: Build, *arrays: np.ndarray) -> np.ndarray:
    """The result of coremltools itself, for constants."""
    values = []

    def body(unused: Any) -> Any:
        values.append(build(*(a.copy() for a in arrays)).val)
        return mb.identity(x=unused)

    with mil_program.warnings_hidden():
        mb.program(input_specs=[mb.TensorSpec((1,))], opset_version=ct.target.iOS18)(body)
    return np.asarray(values[0])


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


X, Y = normal(2, 3, 4, 5), normal(2, 3, 4, 5)


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


def linear(**options: Any) -> Callable[[Any], Any]:
    config = cto.OpLinearQuantizerConfig(weight_threshold=0, **options)
    return lambda m: cto.linear_quantize_weights(m, cto.OptimizationConfig(global_config=config))
