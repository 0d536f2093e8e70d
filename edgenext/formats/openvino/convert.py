"""ONNX deployment graph → OpenVINO's IR: the graph in an .xml, its constants in a .bin."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from edgenext.formats.openvino.session import core, preload


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Write an .xml file and the .bin beside it.

    Args:
        job: `graph` and `out` are paths, `scheme` a quantization scheme or `fp32`.
    """
    import onnx

    ov = preload()
    from openvino._offline_transformations import apply_moc_transformations

    source = onnx.load(job["graph"])
    del source.metadata_props[:]  # OpenVINO would copy it into the file
    model = core().read_model(source.SerializeToString())
    # as in `convert_model`, but without folding constants: that of OpenVINO 2026.4 breaks the norms
    # of attention, and a plain folding pass would turn int8 weights into floats
    apply_moc_transformations(model, cf=True, smart_reshape=False)
    widen_int4(model)
    rename_by_position(model)
    ov.save_model(model, job["out"], compress_to_fp16=job["scheme"] == "fp16")
    return {"tool": f"openvino {version('openvino')}"}


def widen_int4(model: Any) -> None:
    """Let int4 constants pass int8 on their way to floats.

    The plugin converts constants when it loads a file; its integer convolutions take int8 weights,
    and no int4 ones, for which it would compute in float.
    """
    import openvino as ov
    from openvino import opset13 as operators

    for op in model.get_ordered_ops():
        if op.get_type_name() == "Constant" and op.get_element_type() == ov.Type.i4:
            readers = list(op.output(0).get_target_inputs())
            widened = operators.convert(op, "i8")
            for reader in readers:
                reader.replace_source_output(widened.output(0))


GENERATED_NAME = re.compile(r"[A-Z][A-Za-z0-9]*_\d+")
"""OpenVINO's name of an operator that it added: its type, and a counter of the process."""


def rename_by_position(model: Any) -> None:
    """Number generated names by position, so that they do not depend on earlier conversions."""
    for i, op in enumerate(model.get_ordered_ops()):
        if GENERATED_NAME.fullmatch(op.get_friendly_name()):
            op.set_friendly_name(f"{op.get_type_name()}_{i}")
