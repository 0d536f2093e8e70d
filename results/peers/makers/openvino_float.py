"""OpenVINO's IR of the plain ONNX export, in float32."""

from __future__ import annotations

from typing import Any

import openvino as ov


def convert(job: dict[str, Any]) -> str:
    """An .xml file with its .bin."""
    model = ov.convert_model(job["graph"])
    ov.save_model(model, job["out"], compress_to_fp16=False)
    return "save_model(convert_model(graph), out, compress_to_fp16=False)"
