"""onnxsim without its output, and with a check of its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import ParityError
from edgenext.formats.onnx.session import inference_session, tensor_spec
from edgenext.metrics.fidelity import sqnr_db
from edgenext.system.native_output import native_output_hidden
from edgenext.targets.scheme import FLOAT, ROWS

if TYPE_CHECKING:
    import onnx


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and remove operators without effect.

    Raises:
        ParityError: the simplified graph computes something else.
    """
    import onnxsim

    with native_output_hidden():
        simplified, _ = onnxsim.simplify(model)
    _require_equal(model, simplified)
    for node in simplified.graph.node:
        del node.metadata_props[:]
    result: onnx.ModelProto = simplified
    return result


def _require_equal(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    """Run both graphs on noise and compare all outputs.

    The parity of a float file would show a difference too, but a quantized one is only compared
    with its float graph. onnxsim's own check (`check_n`) gives pixels of zero to graphs in uint8,
    and leaves an entry in the file's metadata.

    Raises:
        ParityError: an output differs.
    """
    inputs = _noise(before)
    expected, actual = (
        inference_session(model.SerializeToString(), 0).run(None, inputs)
        for model in (before, after)
    )
    for output, a, b in zip(before.graph.output, expected, actual, strict=True):
        signal, difference = (np.square(x, dtype=np.float64).sum() for x in (a, a - b))
        if not sqnr_db(signal, difference) >= ROWS[FLOAT].least_db:  # NaN is a failure too
            raise ParityError(
                f"onnxsim changed {output.name} while it simplified the graph",
                "Install another version of onnxsim",
            )


def _noise(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Random numbers for a graph's input; two images if the batch is free."""
    spec = tensor_spec(model.graph.input[0])
    shape = tuple(size if size > 0 else 2 for size in spec.shape)
    rng = np.random.default_rng(0)
    if spec.dtype == "uint8":
        return {spec.name: rng.integers(0, 256, shape, np.uint8)}
    return {spec.name: rng.standard_normal(shape, np.float32)}
