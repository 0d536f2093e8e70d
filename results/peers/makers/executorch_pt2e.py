"""An ExecuTorch program in INT8 by PyTorch 2 Export quantization for XNNPACK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import to_edge_transform_and_lower
from maker import batches, network
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e


def quantize(job: dict[str, Any]) -> str:
    """Symmetric weights per channel, as ExecuTorch's documentation of XNNPACK shows it."""
    images = [torch.from_numpy(image) for image in batches(job)]
    example = (images[0],)
    config = get_symmetric_quantization_config(is_per_channel=True)
    quantizer = XNNPACKQuantizer().set_global(config)
    with torch.no_grad():
        prepared = prepare_pt2e(torch.export.export(network(job), example).module(), quantizer)
        for image in images:
            prepared(image)
        quantized = torch.export.export(convert_pt2e(prepared), example)
    edge = to_edge_transform_and_lower(quantized, partitioner=[XnnpackPartitioner()])
    Path(job["out"]).write_bytes(edge.to_executorch().buffer)
    return (
        "prepare_pt2e(exported, XNNPACKQuantizer().set_global(per channel)); convert_pt2e; "
        "to_edge_transform_and_lower(XnnpackPartitioner())"
    )
