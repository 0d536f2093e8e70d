"""ONNX deployment graph → ExecuTorch program, through torch.export and its partitioners.

Q/DQ become the operators that XNNPACK's partitioner takes into its integer kernels.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Write a .pte file.

    Args:
        job: `graph` and `out` are paths; `backend` a key of `PARTITIONERS`.

    Raises:
        UsageError: no such backend.
    """
    import onnx
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    from edgenext.export.torch_graph import torch_graph

    model = onnx.load(job["graph"])
    network = torch_graph(model, written_norms=job.get("written", False))
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (torch.zeros(shape),))
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        content = edge.to_executorch().buffer
    Path(job["out"]).write_bytes(content)
    return {"tool": f"executorch {version('executorch')}"}
