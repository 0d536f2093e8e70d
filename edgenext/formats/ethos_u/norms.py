"""Norms and quotients, decomposed into the means, products and inverse roots that an NPU has.

LayerNorm becomes (x − mean) · (mean of squares + ε)^−½ and its affine. Attention divides the
products of queries and keys by their norms; here queries and keys are scaled to a mean square of
one before they are multiplied, so that 8 bits suffice for both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.errors import ArtifactError

INVERSE_ROOT = "Pow"
"""The operator of x^−½: ONNX has no single other one."""

LEAST_SIZE = 2.0**-10
"""Mean magnitude below which a row is not normalised: the root of LayerNorm's ε. That of queries
and keys is about 1, because rows of qkv have norm 1 and their input is normalised."""


def decompose_norms(graph: ir.Graph) -> None:
    """Replace every LayerNormalization and every quotient of an attention, in place.

    Raises:
        ArtifactError: an attention of another structure than a deployment graph's.
    """
    for node in list(graph):
        if node.op_type == "LayerNormalization":
            _layer_norm(_Edit(graph, node), node)
        elif node.op_type == "Softmax":
            _attention(graph, node)


class _Edit:
    """Inserts nodes before another one, with names that start with its name."""

    def __init__(self, graph: ir.Graph, before: ir.Node) -> None:
        self.graph, self.before = graph, before

    def constant(self, name: str, array: NDArray[np.float32] | NDArray[np.int64]) -> ir.Value:
        tensor = ir.tensor(array, name=f"{self.before.name}_{name}")
        value = ir.Value(
            name=tensor.name,
            const_value=tensor,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(array.shape),
        )
        self.graph.register_initializer(value)
        return value

    def node(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        shape: Sequence[int],
        **attributes: int,
    ) -> ir.Value:
        output = ir.Value(
            name=f"{self.before.name}_{name}",
            shape=ir.Shape(shape),
            type=ir.TensorType(ir.DataType.FLOAT),
        )
        node = ir.node(op, inputs, attributes, outputs=[output], name=output.name)
        self.graph.insert_before(self.before, node)
        return output

    def mean(self, x: ir.Value, name: str) -> ir.Value:
        """The mean over the last axis, which is kept."""
        shape = sizes(x)
        axes = self.constant(f"{name}_axes", np.asarray([-1], np.int64))
        return self.node("ReduceMean", (x, axes), name, (*shape[:-1], 1), keepdims=1)

    def inverse_root(self, x: ir.Value, name: str) -> ir.Value:
        power = self.constant(f"{name}_power", np.asarray(-0.5, np.float32))
        return self.node(INVERSE_ROOT, (x, power), name, sizes(x))


def sizes(value: ir.Value) -> tuple[int, ...]:
    """The shape of a tensor, all of it known.

    Raises:
        ArtifactError: a free dimension.
    """
    fixed = [d for d in value.shape or () if isinstance(d, int)]
    if value.shape is None or len(fixed) != len(value.shape):
        raise ArtifactError(f"the shape of {value.name} is not fixed", "Export it with --batch 1")
    return tuple(fixed)


def constant_of(value: ir.Value | None) -> NDArray[np.float32]:
    """The array of a constant.

    Raises:
        ArtifactError: it is computed.
    """
    if value is None or value.const_value is None:
        raise ArtifactError(f"{value.name if value else 'an operand'} is not a constant")
    array: NDArray[np.float32] = value.const_value.numpy()
    return array


def _layer_norm(edit: _Edit, node: ir.Node) -> None:
    x, weight, bias = node.inputs
    assert x is not None  # noqa: S101 - a norm has an input
    shape = sizes(x)
    centred = edit.node("Sub", (x, edit.mean(x, "mean")), "centred", shape)
    result = _unit(edit, centred, "")
    for operand, op, neutral in ((weight, "Mul", 1), (bias, "Add", 0)):
        if operand is not None and (constant_of(operand) != neutral).any():
            result = edit.node(op, (result, operand), op.lower(), shape)
    _replace(edit.graph, node, result)


def _unit(edit: _Edit, x: ir.Value, name: str, by: ir.Value | None = None) -> ir.Value:
    """A tensor divided by the root of its mean square along the last axis, times a factor.

    In two steps, first by the mean of its magnitudes, which brings every row near one: in 16 bits
    the squares of a row of small values would vanish beside those of large ones, and an inverse
    root is a table, which is coarse where it is steep.
    """
    shape = sizes(x)
    size = edit.mean(edit.node("Abs", (x,), f"{name}magnitude", shape), f"{name}size")
    floor = edit.constant(f"{name}floor", np.asarray(LEAST_SIZE, np.float32))
    floored = edit.node("Add", (size, floor), f"{name}floored", sizes(size))
    root = edit.inverse_root(floored, f"{name}root")
    factor = edit.node("Mul", (root, root), f"{name}by", sizes(root))
    even = edit.node("Mul", (x, factor), f"{name}even", shape)
    square = edit.node("Mul", (even, even), f"{name}square", shape)
    inverse = edit.inverse_root(edit.mean(square, f"{name}power"), f"{name}inverse")
    if by is not None:
        inverse = edit.node("Mul", (inverse, by), f"{name}factor", sizes(inverse))
    return edit.node("Mul", (even, inverse), f"{name}unit", shape)


def _attention(graph: ir.Graph, softmax: ir.Node) -> None:
    """Replace q · k / (|q| |k|) · t by the product of q · rms(q)^−1 · t/n and k · rms(k)^−1."""
    scaled = _producer(softmax.inputs[0], "Mul")
    product, quotient = (_producer(scaled.inputs[i], op) for i, op in enumerate(("MatMul", "Div")))
    transpose = _producer(product.inputs[1], "Transpose")
    query, key = product.inputs[0], transpose.inputs[0]
    assert query is not None and key is not None  # noqa: S101 - a product has operands
    temperature = constant_of(_producer(quotient.inputs[0], "Div").inputs[0])
    edit = _Edit(graph, scaled)
    tokens = sizes(query)[-1]
    by = edit.constant("temperature", (temperature / tokens).astype(np.float32))
    unit_query = _unit(edit, query, "query_", by)
    unit_key = _unit(edit, key, "key_")
    *heads, rows, columns = *sizes(query)[:-1], sizes(key)[-2]
    transposed = edit.node("Transpose", (unit_key,), "key_turned", (*heads, tokens, columns))
    producer = transposed.producer()
    assert producer is not None  # noqa: S101 - the node above
    producer.attributes["perm"] = ir.AttrInt64s("perm", transpose.attributes["perm"].as_ints())
    score = edit.node("MatMul", (unit_query, transposed), "score", (*heads, rows, columns))
    _replace(graph, scaled, score)
    _remove_unused(graph, product, quotient)


def _producer(value: ir.Value | None, op: str) -> ir.Node:
    """The node that computes a tensor, of the type that an attention has there."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type != op:
        raise ArtifactError(
            f"the attention at {value.name if value else '?'} has no {op} where one is expected",
            "Start from the model, or from a file that this package exported",
        )
    return node


def _replace(graph: ir.Graph, node: ir.Node, result: ir.Value) -> None:
    name = node.outputs[0].name
    node.outputs[0].replace_all_uses_with(result)
    graph.remove(node, safe=True)
    result.name = name


def _remove_unused(graph: ir.Graph, *nodes: ir.Node) -> None:
    for node in nodes:
        if all(not o.uses() and not o.is_graph_output() for o in node.outputs):
            producers = [v.producer() for v in node.inputs if v is not None]
            graph.remove(node, safe=True)
            _remove_unused(graph, *(p for p in dict.fromkeys(producers) if p is not None))
