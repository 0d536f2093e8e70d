"""Equalising: channel scales chosen for quantization, with the function unchanged.

A deployment graph leaves the quantizer two freedoms.

*Streams*. A tensor of the residual stream may carry each channel divided by any positive scale, if
its producers divide and its readers multiply. Convolutions do either in their weights at no cost;
what cannot (a norm, the pooling) gets one product. Tensors that are added, split or concatenated
share their channels' scales, so scales belong to classes of channels (see `channel_scales.py`).
They are chosen to minimise the sum over a stream's tensors of log(step² · Σ scale²), which is the
logarithm of the noise that rounding each of them adds.

*Norms*. The output of a norm may have any scale a channel (SmoothQuant, Xiao et al. 2022): the
norm's affine divides and the weights of the layers that read it multiply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.graph.sites import LAYERS, first_input, is_depthwise
from edgenext.quantize.calibrate import Floats, TensorStats
from edgenext.quantize.channel_scales import (
    balance_norm,
    balance_stream,
    find_streams,
    scale_sharing_nodes,
)
from edgenext.quantize.graph_editor import GraphEditor, drop_unused_constants
from edgenext.quantize.recipe import Equalise


def equalised_tensors(graph: ir.Graph, options: Equalise) -> list[str]:
    """The tensors whose statistics `equalise` needs."""
    tensors: list[ir.Value] = []
    if options.streams:
        tensors += [t for stream in find_streams(graph) for t in stream.tensors]
    if options.norms:
        tensors += [out for _, out, _ in _norm_outputs(graph)]
    return [str(t.name) for t in tensors]


def equalise(graph: ir.Graph, stats: dict[str, TensorStats], options: Equalise, limit: int) -> None:
    """Rescale a graph's channels, in place and with its function unchanged, and its statistics.

    Args:
        graph: a float deployment graph.
        stats: of its tensors; entries of rescaled tensors are replaced.
        options: which freedoms to use.
        limit: of the weights' levels.
    """
    scales: dict[ir.Value, Floats] = {}
    if options.streams:
        for stream in find_streams(graph):
            stream_scales, gain = balance_stream(stream, stats)
            if gain >= options.least_db:
                scales |= stream_scales
    if options.norms:
        for norm, out, layers in _norm_outputs(graph):
            scale = balance_norm(stats[str(out.name)], _joint_weights(layers), limit)
            if scale is not None:
                _divide_norm(GraphEditor(graph), norm, scale)
                scales[out] = scale
    _apply_scales(graph, scales, stats)
    drop_unused_constants(graph)


def _norm_outputs(graph: ir.Graph) -> list[tuple[ir.Node, ir.Value, list[ir.Node]]]:
    """Norms whose output only layers read: the norm, its output, and the layers."""
    outputs = []
    for node in graph:
        if node.op_type != "LayerNormalization":
            continue
        out = node.outputs[0]
        readers = [n for n, _ in out.uses()]
        if len(readers) == 1 and readers[0].op_type == "Transpose":
            out = readers[0].outputs[0]
            readers = [n for n, _ in out.uses()]
        if readers and all(n.op_type in LAYERS and not is_depthwise(n) for n in readers):
            outputs.append((node, out, readers))
    return outputs


def _joint_weights(layers: Sequence[ir.Node]) -> Floats:
    """The weights of layers that read one tensor: outputs × channels × positions."""
    parts = [_weight(n).reshape(len(_weight(n)), _weight(n).shape[1], -1) for n in layers]
    return np.concatenate(parts)


def _weight(node: ir.Node) -> Floats:
    return _array(node, 1)


def _array(node: ir.Node, index: int) -> Floats:
    value = node.inputs[index]
    assert value is not None and value.const_value is not None  # noqa: S101 - layers have constants
    return np.asarray(value.const_value.numpy(), np.float64)


def _divide_norm(edit: GraphEditor, norm: ir.Node, scale: Floats) -> None:
    for index in (1, 2):
        edit.replace_constant(norm, index, _array(norm, index) / scale)


def _apply_scales(
    graph: ir.Graph, scales: Mapping[ir.Value, Floats], stats: dict[str, TensorStats]
) -> None:
    """Let producers divide and readers multiply; scale the statistics of their tensors too."""
    edit = GraphEditor(graph)
    sums = set(scale_sharing_nodes(graph))
    absorbing = sums | {node for node in graph if node.op_type in LAYERS}
    for node in list(graph):
        if node.op_type in LAYERS:
            _rescale_layer(edit, node, scales)
        elif node.op_type == "Add" and node in sums and node.outputs[0] in scales:
            _rescale_constants(edit, node, scales[node.outputs[0]])
    balanced = {out for _, out, _ in _norm_outputs(graph)}
    for value, scale in scales.items():
        producer = value.producer()
        if producer is not None and producer not in absorbing and value not in balanced:
            _divide_output(edit, value, producer, scale)
        unscaled = stats.pop(str(value.name))
        _multiply_readers(edit, value, scale, absorbing, stats, unscaled)
        stats[str(value.name)] = unscaled.scaled(scale)  # an output of the graph has a new name


def _rescale_constants(edit: GraphEditor, node: ir.Node, scale: Floats) -> None:
    """Divide the constants that are added to a stream."""
    for i, value in enumerate(node.inputs):
        if value is not None and value.const_value is not None:
            edit.replace_constant(node, i, _array(node, i) / scale.reshape(1, -1, 1, 1))


def _rescale_layer(edit: GraphEditor, node: ir.Node, scales: Mapping[ir.Value, Floats]) -> None:
    source, out = first_input(node), node.outputs[0]
    if source not in scales and out not in scales:
        return
    weight, bias = _weight(node), _array(node, 2)
    tail = (1,) * (weight.ndim - 2)
    if source in scales:
        side = (-1, 1, *tail) if is_depthwise(node) else (1, -1, *tail)
        weight = weight * scales[source].reshape(side)
    if out in scales:
        weight = weight / scales[out].reshape(-1, 1, *tail)
        bias = bias / scales[out]
    edit.replace_constant(node, 1, weight)
    edit.replace_constant(node, 2, bias)


def _divide_output(edit: GraphEditor, value: ir.Value, producer: ir.Node, scale: Floats) -> None:
    """Divide a tensor in the affine of the norm that makes it (the stem's), or by a product."""
    source = producer.inputs[0].producer() if producer.inputs[0] is not None else None
    if source is not None and (producer.op_type, source.op_type) == (
        "Transpose",
        "LayerNormalization",
    ):
        _divide_norm(edit, source, scale)
    elif source is not None and (producer.op_type, source.op_type) == ("Add", "Mul"):
        for node in (source, producer):  # the affine of a norm that is written out
            edit.replace_constant(node, 1, _array(node, 1) / scale.reshape(-1, 1, 1))
    else:
        readers = list(value.uses())
        factor = edit.constant(f"{producer.name}_scale_by", _column(1 / scale))
        scaled = edit.node("Mul", (value, factor), f"{producer.name}_scaled", after=producer)
        for reader, index in readers:
            reader.replace_input_with(index, scaled)


def _column(scale: Floats) -> NDArray[np.float32]:
    """Channel scales for N×C×H×W."""
    return scale.astype(np.float32).reshape(1, -1, 1, 1)


def _multiply_readers(
    edit: GraphEditor,
    value: ir.Value,
    scale: Floats,
    absorbing: set[ir.Node],
    stats: dict[str, TensorStats],
    unscaled: TensorStats,
) -> None:
    """Insert products for the readers that cannot multiply in their weights."""
    direct: list[tuple[ir.Node, int]] = []
    for node, index in value.uses():
        if node in absorbing:
            continue
        if node.op_type == "Transpose" or (node.op_type == "ReduceMean" and _reduces_space(node)):
            _multiply_output(edit, node, scale, stats)
        else:
            direct.append((node, index))
    if direct or value.is_graph_output():
        product = _multiply_for(edit, value, scale, direct)
        stats[str(product.name)] = unscaled


def _reduces_space(node: ir.Node) -> bool:
    """Whether a mean is taken over rows and columns without keeping these dimensions."""
    axes = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] else None
    keepdims = node.attributes["keepdims"].as_int() if "keepdims" in node.attributes else 1
    if axes is None or keepdims:
        return False
    return sorted(a % 4 for a in axes.numpy().tolist()) == [2, 3]


def _multiply_output(
    edit: GraphEditor, node: ir.Node, scale: Floats, stats: dict[str, TensorStats]
) -> None:
    """Multiply a node's output, channels last, for all its readers."""
    value = node.outputs[0]
    readers = list(value.uses())
    factor = edit.constant(f"{node.name}_unscale", scale.astype(np.float32))
    product = edit.node("Mul", (value, factor), f"{node.name}_unscaled", after=node)
    for reader, index in readers:
        reader.replace_input_with(index, product)
    if str(value.name) in stats:
        unscaled = stats[str(value.name)]
        stats[str(product.name)] = unscaled
        if len(unscaled.low) == len(scale):  # its second axis holds the channels, too
            stats[str(value.name)] = unscaled.scaled(scale)


def _multiply_for(
    edit: GraphEditor, value: ir.Value, scale: Floats, readers: Sequence[tuple[ir.Node, int]]
) -> ir.Value:
    """Multiply an N×C×H×W tensor for some readers, and where it is an output of the graph."""
    producer = value.producer()
    assert producer is not None  # noqa: S101 - the graph's input is in no stream
    name = f"{readers[0][0].name if readers else producer.name}_unscaled"
    factor = edit.constant(f"{name}_by", _column(scale))
    product = edit.node("Mul", (value, factor), name, after=producer)
    product.shape, product.type = value.shape, value.type
    for reader, index in readers:
        reader.replace_input_with(index, product)
    graph: Any = edit.graph
    for i, output in enumerate(graph.outputs):
        if output is value:
            value.name, product.name = f"{value.name}_scaled", value.name
            graph.outputs[i] = product
    return product
