"""`results/trust.json`: what campaigns found, with the command, the machine and the numbers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = (
    "edgenext",
    "numpy",
    "onnx",
    "onnxruntime",
    "pillow",
    "pydantic",
    "safetensors",
    "torch",
)


def write_part(path: Path, name: str, command: str, figures: dict[str, Any]) -> None:
    """Replace one campaign's figures in the file; the others stay."""
    from edgenext.benchmark.environment import environment

    parts = json.loads(path.read_text()) if path.is_file() else {}
    machine = environment()
    parts[name] = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": machine.cpu,
        "isa": list(machine.isa),
        "cores": machine.cores,
        "packages": {package: version(package) for package in PACKAGES},
    } | figures
    path.write_text(json.dumps(parts, indent=2) + "\n")
