from __future__ import annotations

import numpy as np
import onnx
import pytest
from quantized_graphs import float_graph

from edgenext.data import ImageSet
from edgenext.errors import ArtifactError
from edgenext.quantize.calibration_checks import calibration_warnings, clipping_warnings
from edgenext.quantize.quantized_artifact import require_finite
from edgenext.schema import EvalTransform, SubsetInfo


def images(pixels: np.ndarray) -> ImageSet:
    n = len(pixels)
    info = SubsetInfo(data="x", sha256="0", n=n, n_total=n, seed=0)
    names = tuple(map(str, range(n)))
    return ImageSet(pixels, np.zeros(n, np.int64), names, names, EvalTransform(size=8), info)


def natural(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(118, 58, (n, 8, 8, 3)).clip(0, 255).astype(np.uint8)


def test_images_like_those_of_the_training_give_no_warning() -> None:
    assert calibration_warnings(images(natural(64))) == []


def test_one_image() -> None:
    (warning,) = calibration_warnings(images(natural(1)))
    assert warning.startswith("calibrated on 1 image:")


def test_constant_images() -> None:
    flat = np.repeat(np.arange(0, 256, 4, dtype=np.uint8), 8 * 8 * 3).reshape(64, 8, 8, 3)
    assert any(
        "64 of the 64 calibration images are of one colour" in warning
        for warning in calibration_warnings(images(flat))
    )


def test_images_unlike_those_of_the_training() -> None:
    dark = (natural(64) // 16).astype(np.uint8)
    (warning,) = calibration_warnings(images(dark))
    assert "unlike those the network was trained on" in warning and "-2.00/" in warning


def test_clipping_names_the_worst_tensors() -> None:
    assert clipping_warnings({"a": 0.001}) == []
    (warning,) = clipping_warnings({"a": 0.02, "b": 0.3, "c": 0.0, "d": 0.11, "e": 0.05})
    assert warning == (
        "4 tensors would clip more than 1% of its calibration values: b (30.0 %), d (11.0 %), "
        "e (5.0 %)"
    )


def test_weights_that_are_not_finite() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(float_graph())
    require_finite(model)
    weight = next(t for t in model.graph.initializer if "pwconv1.weight" in t.name)
    array = onnx.numpy_helper.to_array(weight).copy()
    array.flat[:2] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    with pytest.raises(ArtifactError, match=r"pwconv1\.weight has 2 values that are NaN"):
        require_finite(model)
