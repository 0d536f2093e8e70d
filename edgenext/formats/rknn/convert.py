"""ONNX deployment graph → a file for the NPU of a Rockchip SoC, by rknn-toolkit2."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenext.errors import UsageError
from edgenext.formats.rknn.gelu import complete_gelu
from edgenext.formats.rknn.package import FLOAT, QUANTIZED, write_package
from edgenext.formats.rknn.simulation import start_simulator, working_folder
from edgenext.formats.rknn.toolkit import BUILT, GRAPH, quantize
from edgenext.system.temporary import scratch_folder

if TYPE_CHECKING:
    import onnx

OPSET = 17


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Write an .rknn file, and beside it the zip from which the simulator can build it again.

    Args:
        job: `graph` and `out` are paths, `platform` a row of `platforms.toml`, `scheme` fp16 or
            w8a8-static; for the latter `samples` is the path of inputs, N×H×W×3 float32.

    Raises:
        UsageError: a graph of a newer opset than the toolkit takes.
        RefusedError: the toolkit does not take the graph.
    """
    import onnx

    model = onnx.load(job["graph"])
    if model.opset_import[0].version > OPSET:
        raise UsageError(
            f"rknn-toolkit2 takes opset {OPSET}, not {model.opset_import[0].version}",
            f"Start from the model, or export the ONNX file with --opset {OPSET}",
        )
    complete_gelu(model)
    out, platform = Path(job["out"]), job["platform"]
    samples = Path(job["samples"]) if "samples" in job else None
    with scratch_folder() as scratch:
        folder = working_folder(scratch)
        onnx.save(model, scratch / GRAPH)
        names: tuple[str, ...] = FLOAT
        if job["scheme"] != "fp16":
            assert samples is not None  # noqa: S101 - the other scheme is calibrated
            with contextlib.chdir(scratch):
                quantize(_inputs(samples), platform)
            names = QUANTIZED
        for name in names:  # what the session will find, and nothing else
            shutil.move(scratch / name, folder / name)
        facts, _ = start_simulator(sys.executable, folder, platform).request({})
        shutil.copyfile(folder / BUILT, out)
        record = {
            "platform": platform,
            "input": _spec(model.graph.input[0]),
            "outputs": [_spec(output) for output in model.graph.output],
            "layers": facts["layers"],
        }
        write_package(out, folder, record)
    notes = [f"compiled for {platform}"]
    if not facts["fixed_addresses"]:
        notes.append("the kernel gives random addresses: unused bytes differ between conversions")
    return {"tool": facts["tool"], "notes": notes}


def _inputs(samples: Path) -> Iterator[str]:
    """Write the calibration images to the working folder, one a file, as the graph takes them."""
    import numpy as np

    for i, image in enumerate(np.load(samples, mmap_mode="r")):
        name = f"sample{i}.npy"
        np.save(name, np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
        yield name


def _spec(value: onnx.ValueInfoProto) -> dict[str, Any]:
    """Name and shape of an input or output, which are floats to whoever calls the runtime."""
    shape = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
    return {"name": value.name, "shape": shape, "dtype": "float32"}
