"""NNCF's INT8 of the plain ONNX export, as OpenVINO's IR."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import nncf
import numpy as np
import openvino as ov
from maker import batches
from numpy.typing import NDArray

MAX_DROP = 0.01
"""One point of top-1, NNCF's own default."""


def mixed(job: dict[str, Any]) -> str:
    """Symmetric weights, asymmetric activations, the settings for transformers."""
    images = batches(job)
    quantized = nncf.quantize(
        ov.convert_model(job["graph"]),
        nncf.Dataset(images),
        subset_size=len(images),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
    )
    ov.save_model(quantized, job["out"], compress_to_fp16=False)
    return (
        f"nncf.quantize(model, dataset, subset_size={len(images)}, preset=MIXED, "
        "model_type=TRANSFORMER)"
    )


def accuracy_control(job: dict[str, Any]) -> str:
    """The same, with operators put back into float until top-1 falls by no more than a point."""
    images = batches(job)
    labelled = list(zip(batches(job, "validation"), np.load(job["labels"]), strict=True))
    quantized = nncf.quantize_with_accuracy_control(
        ov.convert_model(job["graph"]),
        nncf.Dataset(images),
        nncf.Dataset(labelled),
        top1,
        max_drop=MAX_DROP,
        subset_size=len(images),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
    )
    ov.save_model(quantized, job["out"], compress_to_fp16=False)
    return (
        f"nncf.quantize_with_accuracy_control(model, dataset, {len(labelled)} labelled images, "
        f"top1, max_drop={MAX_DROP}, subset_size={len(images)}, preset=MIXED, "
        "model_type=TRANSFORMER)"
    )


def top1(
    model: ov.CompiledModel, data: Iterable[tuple[NDArray[np.float32], int]]
) -> tuple[float, list[float]]:
    """The share of images that a model has right, and whether each of them."""
    right = [float(model(image)[0].argmax() == label) for image, label in data]
    return float(np.mean(right)), right
