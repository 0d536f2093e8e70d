"""onnxsim without its output, and with its check."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import ParityError
from edgenext.formats.onnx.session import tensor_spec
from edgenext.system.native_output import native_output_hidden

if TYPE_CHECKING:
    import onnx


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and remove operators without effect.

    The result is compared with the original on one input, by onnxsim's own check. The parity of an export would find
    a difference too, but a quantized file is compared with this graph, not with PyTorch.

    Raises:
        ParityError: the simplified graph computes something else.
    """
    import onnxsim
    from onnxsim import model_checking

    with native_output_hidden(), contextlib.redirect_stdout(io.StringIO()):
        # without its own check, which would leave the inputs it ran on in the file's metadata
        simplified, _ = onnxsim.simplify(model)
        same = model_checking.compare(simplified, model, 1, input_data=_noise(model))
    if not same:
        raise ParityError(
            "onnxsim changed what the graph computes", "Install another version of onnxsim"
        )
    for node in simplified.graph.node:
        del node.metadata_props[:]
    result: onnx.ModelProto = simplified
    return result


def _noise(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Random numbers for a graph's input: two images if the batch is free.

    onnxsim's own would be below 1, which in uint8 is all zeros.
    """
    spec = tensor_spec(model.graph.input[0])
    shape = tuple(size if size > 0 else 2 for size in spec.shape)
    rng = np.random.default_rng(0)
    if spec.dtype == "uint8":
        return {spec.name: rng.integers(0, 256, shape, np.uint8)}
    return {spec.name: rng.standard_normal(shape, np.float32)}
