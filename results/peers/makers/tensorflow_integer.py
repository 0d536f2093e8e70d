"""TFLite with integers alone by TensorFlow's converter, from what onnx2tf makes of the export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx2tf
import tensorflow as tf
from maker import batches


def convert(job: dict[str, Any]) -> str:
    """Integers inside, at the input and at the output."""
    folder = Path(job["out"]).with_suffix(".saved_model")
    onnx2tf.convert(
        input_onnx_file_path=job["graph"],
        output_folder_path=str(folder),
        non_verbose=True,
        **SAVED_MODEL,
    )

    def images() -> Iterator[list[Any]]:
        for image in batches(job):
            yield [np.ascontiguousarray(image.transpose(0, 2, 3, 1))]

    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = images
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    Path(job["out"]).write_bytes(converter.convert())
    return (
        "onnx2tf.convert(graph); TFLiteConverter.from_saved_model, Optimize.DEFAULT, "
        "TFLITE_BUILTINS_INT8, int8 input and output"
    )


SAVED_MODEL: dict[str, Any] = {}
"""Options with which onnx2tf writes a saved model."""
