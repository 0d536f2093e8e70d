"""TFLite with integers alone by TensorFlow's converter."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from maker import batches

SAMPLE_DATA = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""Images in 0 to 1 on which onnx2tf compares its graph with the export. It downloads them unless
they are in the working folder, and there may be no network."""
OPTIONS = "Optimize.DEFAULT, TFLITE_BUILTINS_INT8, int8 input and output"


def from_export(job: dict[str, Any]) -> str:
    """Of the saved model that onnx2tf makes of the plain export."""
    import onnx2tf

    folder = Path(job["out"]).with_suffix(".saved_model")
    graph = shutil.copy(job["graph"], Path(job["out"]).with_suffix(".onnx"))  # it writes into it
    np.save(SAMPLE_DATA, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
    onnx2tf.convert(
        input_onnx_file_path=str(graph), output_folder_path=str(folder), non_verbose=True
    )
    _write(job, tf.lite.TFLiteConverter.from_saved_model(str(folder)))
    return f"onnx2tf.convert(graph); TFLiteConverter.from_saved_model, {OPTIONS}"


def from_network(job: dict[str, Any]) -> str:
    """Of the network written in TensorFlow, with this package's folded weights."""
    from edgenext.formats.tflite.tensorflow_network import Network

    with np.load(job["arrays"]) as arrays:
        network = Network(dict(arrays), job["architecture"])
    module = tf.Module()
    module.serve = tf.function(
        lambda image: {"logits": network(image)},
        input_signature=[tf.TensorSpec((1, job["size"], job["size"], 3), tf.float32, name="image")],
        autograph=False,
    )
    function = module.serve.get_concrete_function()
    _write(job, tf.lite.TFLiteConverter.from_concrete_functions([function], module))
    return f"TFLiteConverter.from_concrete_functions(folded network), {OPTIONS}"


def _write(job: dict[str, Any], converter: tf.lite.TFLiteConverter) -> None:
    images = [np.ascontiguousarray(image.transpose(0, 2, 3, 1)) for image in batches(job)]
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    Path(job["out"]).write_bytes(converter.convert())
