"""onnxruntime's `quantize_static`, after the preprocessing that it recommends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from maker import batches
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

TUNED = {
    "activation_type": QuantType.QUInt8,
    "weight_type": QuantType.QInt8,
    "per_channel": True,
    "reduce_range": True,
}
"""As onnxruntime's documentation recommends it for x86: CPUs without VNNI saturate otherwise."""


def defaults(job: dict[str, Any]) -> str:
    """On the plain graph, without options."""
    return _quantize(job, "graph", {})


def tuned(job: dict[str, Any]) -> str:
    """On the plain graph, per channel."""
    return _quantize(job, "graph", TUNED)


def folded(job: dict[str, Any]) -> str:
    """On this package's folded graph, per channel."""
    return _quantize(job, "folded", TUNED)


class Reader(CalibrationDataReader):
    """Calibration images for the input `input`, one by one."""

    def __init__(self, images: list[NDArray[np.float32]]) -> None:
        self._images: Iterator[NDArray[np.float32]] = iter(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next image; None after the last."""
        image = next(self._images, None)
        return None if image is None else {"input": image}


def _quantize(job: dict[str, Any], graph: str, options: dict[str, Any]) -> str:
    prepared = Path(job["out"]).with_suffix(".prepared.onnx")
    quant_pre_process(job[graph], str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), job["out"], Reader(batches(job)), **options)
    words = "".join(f", {name}={value}" for name, value in options.items())
    return f"quant_pre_process({graph}); quantize_static({graph}, out, reader{words})"
