"""Editing an ONNX graph: new nodes and constants, and the removal of unused ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.quantize.ranges import QParams

Array = NDArray[Any]


class GraphEditor:
    """Inserts nodes and constants into a graph and keeps their names unique."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph

    def constant(self, name: str, array: Array) -> ir.Value:
        """A new initializer."""
        tensor = ir.tensor(np.asarray(array, order="C"), name=name)
        shape = ir.Shape(array.shape)
        value = ir.Value(
            name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=shape
        )
        self.graph.register_initializer(value)
        return value

    def node(
        self,
        op: str,
        inputs: Sequence[ir.Value],
        output: str,
        *,
        before: ir.Node | None = None,
        after: ir.Node | None = None,
        **attributes: int | float,
    ) -> ir.Value:
        """A new node with one output called `output`: before or after another node, or last."""
        node = ir.node(op, inputs, attributes, outputs=[ir.Value(name=output)], name=output)
        if before is not None:
            self.graph.insert_before(before, node)
        elif after is not None:
            self.graph.insert_after(after, node)
        else:
            self.graph.append(node)
        return node.outputs[0]

    def params(self, name: str, q: QParams) -> tuple[ir.Value, ir.Value]:
        """Scale and zero point of a tensor, 0-d: onnxruntime fuses less with shape [1]."""
        return (
            self.constant(f"{name}_scale", np.asarray(q.scale, np.float32)),
            self.constant(f"{name}_zero_point", np.asarray(q.zero_point, q.dtype)),
        )

    def replace_constant(self, node: ir.Node, index: int, array: Array) -> None:
        """Give a node a constant of its own in place of one that other nodes may share."""
        old = node.inputs[index]
        assert old is not None  # noqa: S101 - the caller checked
        name = f"{node.name}_{old.name}"
        while name in self.graph.initializers:
            name += "_"
        dtype = old.const_value.numpy().dtype if old.const_value is not None else np.float32
        node.replace_input_with(index, self.constant(name, np.asarray(array, dtype)))


def drop_unused_constants(graph: ir.Graph) -> None:
    """Remove initializers that nothing reads."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
