"""ONNX deployment graph → OpenVINO's IR: an .xml with the graph, a .bin with its constants."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from edgenext.formats.openvino.session import preload


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Write an .xml file and the .bin beside it.

    Args:
        job: `graph` and `out` are paths, `scheme` a quantization scheme or `fp32`.
    """
    import onnx

    ov = preload()
    from openvino._offline_transformations import apply_moc_transformations

    source = onnx.load(job["graph"])
    del source.metadata_props[:]  # else it would be the file's
    model = ov.Core().read_model(source.SerializeToString())
    # what `convert_model` does too, but without folding constants: there OpenVINO 2026.4 breaks the
    # norms of attention. A plain folding pass would turn int8 weights into floats.
    apply_moc_transformations(model, cf=True, smart_reshape=False)
    name_by_place(model)
    ov.save_model(model, job["out"], compress_to_fp16=job["scheme"] == "fp16")
    return {"tool": f"openvino {version('openvino')}"}


COUNTED = re.compile(r"[A-Z][A-Za-z0-9]*_\d+")
"""What OpenVINO calls an operator that it made itself: its type, and how many there were before."""


def name_by_place(model: Any) -> None:
    """Number what OpenVINO has named by its place, not by what else the process had made before."""
    for i, op in enumerate(model.get_ordered_ops()):
        if COUNTED.fullmatch(op.get_friendly_name()):
            op.set_friendly_name(f"{op.get_type_name()}_{i}")
