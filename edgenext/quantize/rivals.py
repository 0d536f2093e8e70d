"""onnxruntime's own quantizer with its defaults: the baseline anyone would reach for."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray


def onnxruntime_static(
    model: onnx.ModelProto, batches: Sequence[NDArray[np.generic]]
) -> onnx.ModelProto:
    """`onnxruntime.quantization.quantize_static` with every default, on the plain graph."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime is untyped
        def __init__(self) -> None:
            self._batches: Iterator[NDArray[np.generic]] = iter(batches)

        def get_next(self) -> dict[str, NDArray[np.generic]] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"input": batch}

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises on its own preprocessing, which was done
    try:
        with tempfile.TemporaryDirectory() as folder:
            plain, ready, done = (Path(folder) / f"{n}.onnx" for n in ("plain", "ready", "done"))
            onnx.save(model, plain)
            quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
            quantize_static(str(ready), str(done), Reader())
            return onnx.load(done)
    finally:
        root.setLevel(level)
