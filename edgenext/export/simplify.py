"""onnxsim, kept quiet and checked."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgenext.errors import ParityError

if TYPE_CHECKING:
    import onnx


@contextlib.contextmanager
def native_output_hidden() -> Iterator[None]:
    """Keep what native code writes to file descriptors 1 and 2 off the terminal."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as sink:
        saved = os.dup(1), os.dup(2)
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            yield
        finally:
            for descriptor, keep in zip((1, 2), saved, strict=True):
                os.dup2(keep, descriptor)
                os.close(keep)


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and drop what does nothing.

    Raises:
        ParityError: onnxsim found that its own result computes something else.
    """
    import onnxsim

    with native_output_hidden():
        simplified, same = onnxsim.simplify(model)
    if not same:
        raise ParityError("onnxsim changed the function of the graph while simplifying it")
    for node in simplified.graph.node:
        del node.metadata_props[:]
    result: onnx.ModelProto = simplified
    return result
