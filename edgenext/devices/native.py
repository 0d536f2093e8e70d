"""Measuring with a device's own tools: TensorRT's trtexec and LiteRT's benchmark_model."""

from __future__ import annotations

from pathlib import Path

from edgenext.devices.asked import Asked, Progress
from edgenext.devices.link import LinkTransport
from edgenext.devices.protocol import Recorded


def tool_for(asked: Asked) -> str:
    """The tool that measures what was asked better than our runner; empty where none does."""
    return ""


def measure(link: LinkTransport, asked: Asked, folder: Path, progress: Progress) -> Recorded:
    """What the tool told of everything asked."""
    raise NotImplementedError
