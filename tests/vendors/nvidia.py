"""NVIDIA's own ONNX parser and engine builder (TensorRT-RTX): they need neither GPU nor driver.

An engine built here is evidence that parser and compiler take the graph, not a Jetson engine.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGE = "tensorrt-rtx-cu12"


def available() -> bool:
    """Whether NVIDIA's package is installed."""
    return find_spec("tensorrt_rtx") is not None


needed = pytest.mark.skipif(not available(), reason=f"{PACKAGE} is not installed")
"""Mark of the tests that build."""


def build(path: Path) -> list[str]:
    """What NVIDIA's parser, or else its builder for SM86, has against a file: nothing, or errors.

    SM86 is the nearest to the Jetson Orin's SM87 that the package builds for.
    """
    import tensorrt_rtx as trt

    class Errors(trt.ILogger):  # type: ignore[misc] # the package is untyped
        def __init__(self) -> None:
            super().__init__()
            self.messages: list[str] = []

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.messages.append(msg)

    log = Errors()
    builder = trt.Builder(log)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        found = [parser.get_error(i) for i in range(parser.num_errors)]
        return [str(error) for error in found] or log.messages or ["refused without a reason"]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    if builder.build_serialized_network(network, config) is None:
        return log.messages or ["not built, without a reason"]
    return []
