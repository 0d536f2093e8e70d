"""ONNX deployment graph → ExecuTorch program, through torch.export and a backend's partitioner.

XNNPACK's partitioner recognises an integer convolution by the Q/DQ around it: int8 weights with a
scale per channel behind a dequantization, and int8 on both sides of the layer.
"""

from __future__ import annotations

import warnings
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenext.errors import unknown_name
from edgenext.formats.executorch.options import BACKENDS, missing_backend

if TYPE_CHECKING:
    import torch
    from torch import fx


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Write a .pte file.

    Args:
        job: `graph` and `out` are paths, `backend` one of `BACKENDS`.

    Raises:
        UsageError: unknown backend, or one that this machine's ExecuTorch cannot run.
    """
    import onnx

    from edgenext.formats.torch_graph import example_input, torch_graph

    partitioner = _partitioner(job["backend"])
    model = onnx.load(job["graph"])
    # XNNPACK has no LayerNorm: as one operator it would run outside, which costs 3 to 9 % of time
    graph = torch_graph(model, written_norms=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content, delegated = _lower(graph, example_input(model), partitioner)
    Path(job["out"]).write_bytes(content)
    layers = ", ".join(f"{n} {name}" for name, n in delegated.most_common())
    notes = [f"{job['backend']} computes {layers}"]
    return {"tool": f"executorch {version('executorch')}", "notes": notes}


def _partitioner(backend: str) -> Any:
    """The partitioner that selects a backend's parts of a graph."""
    from executorch.extension.pybindings._C import _get_registered_backend_names

    if backend not in BACKENDS:
        raise unknown_name("backend of executorch", backend, BACKENDS)
    if BACKENDS[backend] not in _get_registered_backend_names():
        raise missing_backend(backend)
    if backend == "coreml":
        from executorch.backends.apple.coreml.partition import CoreMLPartitioner

        return CoreMLPartitioner()
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    return XnnpackPartitioner()


def _lower(
    graph: fx.GraphModule, example: torch.Tensor, partitioner: Any
) -> tuple[bytes, Counter[str]]:
    """The content of the program, and the layers in the backend's parts by name."""
    import torch
    from executorch.exir import to_edge_transform_and_lower

    program = torch.export.export(graph, (example,))
    edge = to_edge_transform_and_lower(program, partitioner=[partitioner])
    module = edge.exported_program().graph_module
    delegated: Counter[str] = Counter()
    for node in module.graph.nodes:
        if node.op == "get_attr" and hasattr(part := getattr(module, node.target), "backend_id"):
            delegated += _layers(part.original_module.graph_module)
    return bytes(edge.to_executorch().buffer), delegated


LAYERS = ("convolution", "linear")
"""Operators with weights."""


def _layers(graph: fx.GraphModule) -> Counter[str]:
    """Layers by kind; those with int8 weights are counted separately."""
    counts: Counter[str] = Counter()
    for node in (n for n in graph.graph.nodes if n.op == "call_function"):
        name = node.target.__name__.removesuffix(".default").rpartition(".")[2]
        if name in LAYERS:
            integer = any("dequantize_per_channel" in str(a.target) for a in node.all_input_nodes)
            counts[f"int8 {name}" if integer else name] += 1
    return counts
