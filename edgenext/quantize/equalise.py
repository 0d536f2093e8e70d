"""Channel scales chosen for quantization: the same function, with tensors that fill their bytes.

Two freedoms of a deployment graph are left to the quantizer.

*Streams*. A tensor of the residual stream may carry each channel divided by any positive scale, if
its makers divide and its readers multiply. Convolutions do either for nothing in their weights;
what cannot (a norm, the pooling) gets one product. Tensors that are added, split or concatenated
share their channels' scales, so scales belong to classes of channels, found by following these
operators. They are chosen to minimise the sum over a stream's tensors of log(step² · Σ scale²),
which is the logarithm of the noise that rounding each of them adds.

*Norms*. What a norm gives to the layer behind it may have any scale a channel (SmoothQuant, Xiao
et al. 2022): the norm's affine divides and the layer's weights multiply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.graph.sites import LAYERS, is_depthwise, read
from edgenext.quantize.calibrate import Floats, TensorStats
from edgenext.quantize.channel_scales import balance_norm, balance_stream, find_streams, joins
from edgenext.quantize.qdq import Editor, drop_unused_constants
from edgenext.quantize.recipe import Equalise


def watched(graph: ir.Graph, how: Equalise) -> list[str]:
    """The tensors whose statistics `equalise` needs."""
    found = [t for stream in find_streams(graph) for t in stream.tensors] if how.streams else []
    found += [out for _, out, _ in _norm_outputs(graph)] if how.norms else []
    return [str(t.name) for t in found]


def equalise(graph: ir.Graph, stats: dict[str, TensorStats], how: Equalise, limit: int) -> None:
    """Rewrite a graph, in place and with its function unchanged, and scale its statistics.

    Args:
        graph: a float deployment graph.
        stats: what calibration saw; entries of rescaled tensors are replaced.
        how: which freedoms to use.
        limit: of the weights' levels.
    """
    scales: dict[ir.Value, Floats] = {}
    if how.streams:
        for stream in find_streams(graph):
            found, gain = balance_stream(stream, stats)
            if gain >= how.least_db:
                scales |= found
    if how.norms:
        for norm, out, layers in _norm_outputs(graph):
            scale = balance_norm(stats[str(out.name)], _columns(layers), limit)
            if scale is not None:
                _divide_norm(Editor(graph), norm, scale)
                scales[out] = scale
    _apply(graph, scales, stats)
    drop_unused_constants(graph)


def _norm_outputs(graph: ir.Graph) -> list[tuple[ir.Node, ir.Value, list[ir.Node]]]:
    """Norms whose output only layers read: the norm, that tensor, and the layers."""
    found = []
    for node in graph:
        if node.op_type != "LayerNormalization":
            continue
        out = node.outputs[0]
        readers = [n for n, _ in out.uses()]
        if len(readers) == 1 and readers[0].op_type == "Transpose":
            out = readers[0].outputs[0]
            readers = [n for n, _ in out.uses()]
        if readers and all(n.op_type in LAYERS and not is_depthwise(n) for n in readers):
            found.append((node, out, readers))
    return found


def _columns(layers: Sequence[ir.Node]) -> Floats:
    """The weights of layers that read one tensor: outputs × channels × positions."""
    parts = [_weight(n).reshape(len(_weight(n)), _weight(n).shape[1], -1) for n in layers]
    return np.concatenate(parts)


def _weight(node: ir.Node) -> Floats:
    return _array(node, 1)


def _array(node: ir.Node, index: int) -> Floats:
    value = node.inputs[index]
    assert value is not None and value.const_value is not None  # noqa: S101 - layers have constants
    return np.asarray(value.const_value.numpy(), np.float64)


def _divide_norm(edit: Editor, norm: ir.Node, scale: Floats) -> None:
    for index in (1, 2):
        edit.replace_constant(norm, index, _array(norm, index) / scale)


def _apply(
    graph: ir.Graph, scales: Mapping[ir.Value, Floats], stats: dict[str, TensorStats]
) -> None:
    """Makers divide, readers multiply; statistics follow the tensors they are of."""
    edit = Editor(graph)
    sums = set(joins(graph))
    absorbing = sums | {node for node in graph if node.op_type in LAYERS}
    for node in list(graph):
        if node.op_type in LAYERS:
            _rescale_layer(edit, node, scales)
        elif node.op_type == "Add" and node in sums and node.outputs[0] in scales:
            _rescale_constants(edit, node, scales[node.outputs[0]])
    balanced = {out for _, out, _ in _norm_outputs(graph)}
    for value, scale in scales.items():
        maker = value.producer()
        if maker is not None and maker not in absorbing and value not in balanced:
            _divide(edit, value, maker, scale)
        seen = stats.pop(str(value.name))
        _read(edit, value, scale, absorbing, stats, seen)
        stats[str(value.name)] = seen.scaled(scale)  # an output of the graph has a new name


def _rescale_constants(edit: Editor, node: ir.Node, scale: Floats) -> None:
    """Divide what is added to a stream."""
    for i, value in enumerate(node.inputs):
        if value is not None and value.const_value is not None:
            edit.replace_constant(node, i, _array(node, i) / scale.reshape(1, -1, 1, 1))


def _rescale_layer(edit: Editor, node: ir.Node, scales: Mapping[ir.Value, Floats]) -> None:
    source, out = read(node), node.outputs[0]
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


def _divide(edit: Editor, value: ir.Value, maker: ir.Node, scale: Floats) -> None:
    """Divide a tensor in the affine of the norm that makes it (the stem's), or by a product."""
    source = maker.inputs[0].producer() if maker.inputs[0] is not None else None
    if source is not None and (maker.op_type, source.op_type) == (
        "Transpose",
        "LayerNormalization",
    ):
        _divide_norm(edit, source, scale)
    elif source is not None and (maker.op_type, source.op_type) == ("Add", "Mul"):
        for node in (source, maker):  # a norm that is written out
            edit.replace_constant(node, 1, _array(node, 1) / scale.reshape(-1, 1, 1))
    else:
        readers = list(value.uses())
        factor = edit.constant(f"{maker.name}_scale_by", _column(1 / scale))
        scaled = edit.node("Mul", (value, factor), f"{maker.name}_scaled", after=maker)
        for reader, index in readers:
            reader.replace_input_with(index, scaled)


def _column(scale: Floats) -> NDArray[np.float32]:
    """Channel scales for N×C×H×W."""
    return scale.astype(np.float32).reshape(1, -1, 1, 1)


def _read(
    edit: Editor,
    value: ir.Value,
    scale: Floats,
    absorbing: set[ir.Node],
    stats: dict[str, TensorStats],
    seen: TensorStats,
) -> None:
    """Multiply for readers that cannot do it in their weights."""
    direct: list[tuple[ir.Node, int]] = []
    for node, index in value.uses():
        if node in absorbing:
            continue
        if node.op_type == "Transpose" or (node.op_type == "ReduceMean" and _reduces_space(node)):
            _multiply(edit, node, scale, stats)
        else:
            direct.append((node, index))
    if direct or value.is_graph_output():
        product = _multiply_for(edit, value, scale, direct)
        stats[str(product.name)] = seen


def _reduces_space(node: ir.Node) -> bool:
    """Whether a mean goes over rows and columns and keeps no dimension of them."""
    axes = node.inputs[1].const_value if len(node.inputs) > 1 and node.inputs[1] else None
    keep = node.attributes["keepdims"].as_int() if "keepdims" in node.attributes else 1
    return axes is not None and not keep and sorted(a % 4 for a in axes.numpy().tolist()) == [2, 3]


def _multiply(edit: Editor, node: ir.Node, scale: Floats, stats: dict[str, TensorStats]) -> None:
    """Multiply what a node gives, channels last, for all its readers."""
    value = node.outputs[0]
    readers = list(value.uses())
    factor = edit.constant(f"{node.name}_unscale", scale.astype(np.float32))
    product = edit.node("Mul", (value, factor), f"{node.name}_unscaled", after=node)
    for reader, index in readers:
        reader.replace_input_with(index, product)
    if str(value.name) in stats:
        seen = stats[str(value.name)]
        stats[str(product.name)] = seen
        if len(seen.low) == len(scale):  # channels are its second axis, too
            stats[str(value.name)] = seen.scaled(scale)


def _multiply_for(
    edit: Editor, value: ir.Value, scale: Floats, readers: Sequence[tuple[ir.Node, int]]
) -> ir.Value:
    """Multiply an N×C×H×W tensor for some readers, and where it is an output of the graph."""
    maker = value.producer()
    assert maker is not None  # noqa: S101 - the graph's input is in no stream
    name = f"{readers[0][0].name if readers else maker.name}_unscaled"
    factor = edit.constant(f"{name}_by", _column(scale))
    product = edit.node("Mul", (value, factor), name, after=maker)
    product.shape, product.type = value.shape, value.type
    for reader, index in readers:
        reader.replace_input_with(index, product)
    graph: Any = edit.graph
    for i, output in enumerate(graph.outputs):
        if output is value:
            value.name, product.name = f"{value.name}_scaled", value.name
            graph.outputs[i] = product
    return product
