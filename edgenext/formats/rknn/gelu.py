"""GELU as the toolkit recognises it, so that it becomes one operator of the NPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

HALF = "edgenext_half"
"""The name of the constant that completes GELU."""


def complete_gelu(model: onnx.ModelProto) -> None:
    """Multiply each x · (1 + erf(x/√2)) by ½, and the weights that read it by 2, in place.

    The deployment graph has that ½ in the weights. The toolkit fuses only the whole of GELU, and
    leaves an Erf on its own to the CPU. Products with powers of two are exact.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = _constants(graph)
    makers = {output: node for node in graph.node for output in node.output}
    nodes = []
    for node in graph.node:
        nodes.append(node)
        readers = [reader for reader in graph.node if node.output[0] in reader.input]
        if not _is_double_gelu(node, makers) or [r.op_type for r in readers] != ["Conv"]:
            continue
        weight = constants.get(readers[0].input[1])
        if weight is None:
            continue
        halved = f"{node.output[0]}_half"
        nodes.append(helper.make_node("Mul", [node.output[0], HALF], [halved], f"{node.name}_half"))
        doubled = numpy_helper.from_array(weight * 2, f"{readers[0].input[1]}_double")
        graph.initializer.append(doubled)
        readers[0].input[0], readers[0].input[1] = halved, doubled.name
    graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), HALF))
    read = {name for node in nodes for name in node.input}
    nodes = [node for node in nodes if node.op_type != "Constant" or node.output[0] in read]
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """The float constants of a graph by name."""
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return constants


def _is_double_gelu(node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether a node is the product of a tensor and 1 + erf(…)."""
    if node.op_type != "Mul":
        return False
    sums = [makers[name] for name in node.input if name in makers and makers[name].op_type == "Add"]
    return any(
        makers[name].op_type == "Erf" for add in sums for name in add.input if name in makers
    )
