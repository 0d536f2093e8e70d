"""MNN's files of the plain ONNX export, by the tools of its Python package.

The export is that in opset 17: of opset 20, MNN 3.6.1 makes another function (docs/clients.md).
The commands `mnnconvert` and `mnnquant` are not called, because they install a package for
telemetry, with the first `pip` of the path, into whatever Python that is. What they call is.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CALLS = {
    "mnnconvert": "import sys, MNN, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])",
    "mnnquant": "import sys, MNN, _tools; _tools.mnnquant(*sys.argv[1:])",
}
"""What the commands of the package do first."""


def convert(job: dict[str, Any]) -> str:
    """In float32."""
    _tool("mnnconvert", "-f", "ONNX", "--modelFile", job["graph_opset17"], "--MNNModel", job["out"])
    return "mnnconvert -f ONNX --modelFile graph_opset17 --MNNModel out"


def quantize_weights(job: dict[str, Any]) -> str:
    """With weights in INT8; where it computes in INT8, the ranges are of each inference."""
    options = ("--weightQuantBits", "8", "--weightQuantAsymmetric")
    files = ("--modelFile", job["graph_opset17"], "--MNNModel", job["out"])
    _tool("mnnconvert", "-f", "ONNX", *files, *options)
    return f"mnnconvert -f ONNX --modelFile graph_opset17 --MNNModel out {' '.join(options)}"


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
    """Call a tool in a process of its own: it may abort.

    Raises:
        RuntimeError: it failed; with its last line.
    """
    command = (sys.executable, "-c", CALLS[name], *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or [""]
        raise RuntimeError(f"Error: {name} ended with {done.returncode}: {lines[-1].strip()}")
