"""Q/DQ deployment graph → a TFLite file in integers throughout, for Arm's Ethos-U.

The NPU has no float arithmetic and no square root, and Vela does not decompose operators, so norms
are first rewritten in operators that it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto

from edgenext.errors import UsageError
from edgenext.formats.ethos_u.graph import integer_file
from edgenext.formats.ethos_u.norms import decompose_norms
from edgenext.formats.ethos_u.ranges import float_ranges


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Write a .tflite file.

    Args:
        job: `graph` and `out` are paths, `scheme` is w8a8-static; `samples` is the path of
            calibration inputs, N×H×W×3 float32.

    Raises:
        UsageError: another scheme, or a batch other than 1.
        ArtifactError: a graph that cannot be computed in integers.
    """
    if job["scheme"] != "w8a8-static":
        raise UsageError(
            f"a TFLite file for ethos-u is w8a8-static, not {job['scheme']}",
            "Use --scheme w8a8-static, or --format onnx",
        )
    source = onnx.load(job["graph"])
    if source.graph.input[0].type.tensor_type.shape.dim[0].dim_value != 1:
        raise UsageError("a TFLite file for ethos-u takes one image a call", "Leave --batch out")
    model = ir.from_proto(onnx.shape_inference.infer_shapes(source))
    decompose_norms(model.graph)
    decomposed = onnx.shape_inference.infer_shapes(ir.to_proto(model))
    samples = np.load(job["samples"], mmap_mode="r")
    ranges = float_ranges(decomposed, _batches(decomposed, samples))
    Path(job["out"]).write_bytes(integer_file(model, ranges, "EdgeNeXt in integers"))
    return {"tool": f"edgenext {version('edgenext')}"}


def _batches(model: onnx.ModelProto, samples: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Images one by one, as the graph takes them."""
    pixels = model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    for sample in samples:
        yield sample[None].astype(np.uint8) if pixels else sample[None].transpose(0, 3, 1, 2)
