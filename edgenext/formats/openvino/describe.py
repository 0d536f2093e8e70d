"""What an OpenVINO IR that others made says of itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from edgenext.errors import RuntimeFailedError
from edgenext.formats.foreign import ForeignFile, Port, image_facts
from edgenext.formats.openvino.session import core
from edgenext.formats.session import one_line

DTYPES = {"f32": "float32", "f16": "float16", "u8": "uint8", "i8": "int8"}
"""OpenVINO's names of types that images and logits have; others stay as they are."""
INFO = "model_info"
"""The section of a model's information that its Model API reads."""


def describe(path: Path) -> ForeignFile:
    """Inputs, outputs, operators and information of a model.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        RuntimeFailedError: OpenVINO cannot load the file.
    """
    try:
        model = core().read_model(str(path))
    except RuntimeError as e:
        raise RuntimeFailedError(f"OpenVINO cannot load {path.name}: {one_line(e, -1)}") from e
    return ForeignFile(
        inputs=tuple(map(_port, model.inputs)),
        outputs=tuple(map(_port, model.outputs)),
        scheme=_scheme(model),
        producer=f"OpenVINO {_text(model, ['Runtime_version'])}".strip(),
        about=image_facts(_info(model)),
    )


def _port(port: Any) -> Port:
    names = port.get_names()
    shape = port.get_partial_shape()
    sides = [] if shape.rank.is_dynamic else shape
    return Port(
        name=port.get_any_name() if names else "",
        shape=tuple(d.get_length() if d.is_static else -1 for d in sides),
        dtype=DTYPES.get(kind := port.get_element_type().to_string(), kind),
    )


def _info(model: Any) -> dict[str, str]:
    keys = model.get_rt_info(INFO).value if model.has_rt_info([INFO]) else {}
    names = list(keys) if isinstance(keys, dict) else []
    return {name: _text(model, [INFO, name]) for name in names}


def _text(model: Any, place: list[str]) -> str:
    if not model.has_rt_info(place):
        return ""
    value = model.get_rt_info(place).value
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _scheme(model: Any) -> str:
    """What is quantized, by operators and the types of constants."""
    operations = model.get_ordered_ops()
    if any(op.get_type_name() == "FakeQuantize" for op in operations):
        return "w8a8-static"
    sizes: Counter[str] = Counter()
    for op in operations:
        if op.get_type_name() == "Constant":
            sizes[op.get_element_type().to_string()] += op.get_byte_size()
    kind = max(sizes, key=lambda name: sizes[name], default="f32")
    return {"f16": "fp16", "bf16": "bf16", "i8": "w8-weight-only", "u8": "w8-weight-only"}.get(
        kind, "fp32"
    )
