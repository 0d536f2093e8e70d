"""The graph of an adopted ONNX file, with the input and output that this package's graphs have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgenext.errors import ArtifactError
from edgenext.schema import LOGITS, Manifest

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

INPUT = "input"
"""The name of the input of this package's graphs."""
LEAST_IR = 8
"""The first for opsets from 15; from 4 on constants need not be inputs."""


def own_graph(model: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """The same network from N×3×H×W or pixels to logits, under this package's names.

    Other outputs are left out, and so is a softmax before the output: its rounding would be
    measured instead of the network's. Channels last become channels first by a transpose, and
    scores of one pixel become rows.

    Args:
        model: the graph of the file.
        manifest: of the file.

    Raises:
        ArtifactError: bytes with channels first, or probabilities that are computed otherwise than
            by a softmax at the end.
    """
    import onnx_ir as ir

    name = manifest.file
    spec = manifest.input
    own = ir.from_proto(model)
    graph = own.graph
    source = next(v for v in graph.inputs if v.name == spec.name)
    result = next(v for v in graph.outputs if v.name == manifest.outputs[0].name)
    if manifest.gives_probabilities:
        result = _before_softmax(result, name)
    if spec.dtype == "uint8" and not spec.channels_last:
        raise ArtifactError(
            f"{name} takes bytes with channels first", "Adopt one that takes floats"
        )
    if spec.channels_last and spec.dtype != "uint8":
        source = _channels_first(graph, source)
    if len(manifest.outputs[0].shape) > 2:
        result = _flat(graph, result)
    graph.inputs[:] = [source]
    graph.outputs[:] = [result]
    _rename(graph, source, INPUT)
    _rename(graph, result, LOGITS)
    own.ir_version = max(own.ir_version, LEAST_IR)
    return ir.to_proto(own)


def _before_softmax(result: ir.Value, name: str) -> ir.Value:
    """What the softmax at the end reads."""
    node = result.producer()
    if node is None or node.op_type != "Softmax" or node.inputs[0] is None:
        raise ArtifactError(
            f"{name} gives probabilities, and no softmax is its last operator",
            "Export it without what follows its last layer, and adopt that file",
        )
    return node.inputs[0]


def _flat(graph: ir.Graph, result: ir.Value) -> ir.Value:
    """Scores N×K of scores with further axes of one."""
    import onnx_ir as ir

    node = ir.Node("", "Flatten", [result], [ir.AttrInt64("axis", 1)])
    node.name = "rows"
    flat = node.outputs[0]
    flat.name, flat.type = "rows", result.type
    if result.shape is not None:
        sides = [side for side in result.shape[1:] if isinstance(side, int)]
        flat.shape = ir.Shape([result.shape[0], max(sides, default=None)])
    graph.append(node)
    return flat


def _channels_first(graph: ir.Graph, source: ir.Value) -> ir.Value:
    """A new input N×3×H×W, transposed to the old one N×H×W×3."""
    import onnx_ir as ir

    assert source.shape is not None  # noqa: S101 - the manifest has it
    rows, height, width, colours = source.shape
    first = ir.Value(name=INPUT, shape=ir.Shape([rows, colours, height, width]), type=source.type)
    node = ir.Node("", "Transpose", [first], [ir.AttrInt64s("perm", [0, 2, 3, 1])])
    node.name, node.outputs[0].name = "to_channels_last", "channels_last"
    ir.convenience.replace_all_uses_with(source, node.outputs[0])
    graph.insert_before(graph[0], node)
    return first


def _rename(graph: ir.Graph, value: ir.Value, name: str) -> None:
    """Give a value a name; another one of that name gets one of its own."""
    for node in graph.all_nodes():
        for output in node.outputs:
            if output is not value and output.name == name:
                output.name = f"{name}_of_{node.op_type}"
    if value.name != name:
        other = graph.initializers.pop(name, None)
        if other is not None:
            other.name = f"{name}_constant"
            graph.register_initializer(other)
        value.name = name
