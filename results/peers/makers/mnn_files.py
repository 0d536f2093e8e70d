"""MNN's files of the plain ONNX export, by the tools of its Python package.

The export is that in opset 17: of opset 20, MNN 3.6.1 makes another function (docs/clients.md).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def convert(job: dict[str, Any]) -> str:
    """In float32."""
    _tool("mnnconvert", "-f", "ONNX", "--modelFile", job["graph_opset17"], "--MNNModel", job["out"])
    return "mnnconvert -f ONNX --modelFile graph_opset17 --MNNModel out"


def quantize(job: dict[str, Any]) -> str:
    """In INT8, with ranges of the calibration images."""
    out = Path(job["out"])
    plain = out.with_suffix(".float.mnn")
    convert(job | {"out": str(plain)})
    settings = {
        "format": "RGB",
        "mean": [255 * value for value in job["mean"]],
        "normal": [1 / (255 * value) for value in job["std"]],
        "width": job["size"],
        "height": job["size"],
        "path": job["images"],
        "used_image_num": job["n"],
        "feature_quantize_method": "KL",
        "weight_quantize_method": "MAX_ABS",
    }
    config = out.with_suffix(".quantize.json")
    config.write_text(json.dumps(settings))
    _tool("mnnquant", str(plain), str(out), str(config))
    return "mnnconvert; mnnquant float.mnn out: KL, MAX_ABS"


def _tool(name: str, *arguments: str) -> None:
    command = (str(Path(sys.executable).with_name(name)), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or [""]
        raise RuntimeError(f"Error: {name} ended with {done.returncode}: {lines[-1]}")
