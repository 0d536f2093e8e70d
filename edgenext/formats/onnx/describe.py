"""What an ONNX file that others made says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.errors import ArtifactError
from edgenext.formats.foreign import ForeignFile, Port, image_facts
from edgenext.graph.load import read_model

if TYPE_CHECKING:
    import onnx


def describe(path: Path) -> ForeignFile:
    """Inputs, outputs, operators and metadata of a file.

    Raises:
        ArtifactError: it is no valid ONNX graph, or its weights are in other files.
    """
    model = read_model(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    return ForeignFile(
        inputs=tuple(_port(v) for v in model.graph.input if v.name not in constants),
        outputs=tuple(map(_port, model.graph.output)),
        scheme=_scheme(model),
        opset=next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        about=image_facts({entry.key: entry.value for entry in model.metadata_props}),
    )


def _port(value: onnx.ValueInfoProto) -> Port:
    import onnx

    if not value.type.HasField("tensor_type"):
        return Port(name=value.name, shape=(), dtype=str(value.type.WhichOneof("value")))
    tensor = value.type.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    except KeyError as e:
        raise ArtifactError(f"the type of {value.name} is unknown: {tensor.elem_type}") from e
    sides = (d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)
    return Port(name=value.name, shape=tuple(sides), dtype=dtype)


def _scheme(model: onnx.ModelProto) -> str:
    """What is quantized, by operators and the types of weights."""
    import onnx

    operators = {node.op_type for node in model.graph.node}
    if operators & {"QuantizeLinear", "QLinearConv", "QLinearMatMul"}:
        return "w8a8-static"
    if operators & {"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"}:
        return "w8a8-dynamic"
    if "DequantizeLinear" in operators:
        return "w8-weight-only"
    sizes: dict[int, int] = {}
    for tensor in model.graph.initializer:
        sizes[tensor.data_type] = sizes.get(tensor.data_type, 0) + sum(tensor.dims)
    half, full = (sizes.get(kind, 0) for kind in (onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT))
    return "fp16" if half > full else "fp32"
