"""Latency of every file side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from accuracy import FILES, is_calibrated, name_of
from inputs import OPENVINO, SIZE

from edgenext import api
from edgenext.benchmark.noise import floor_of
from edgenext.benchmark.retry import quietest
from edgenext.options import ExportOptions, ModelOptions

TRIES = 4
"""Attempts at most while the machine is noisy."""


def latency(model: str, folder: Path) -> dict[str, Any]:
    """One thread, batch 1, random weights: every file in one interleaved benchmark."""
    options = ModelOptions(random_weights=True, size=SIZE)
    plain = api.export(model, options, ExportOptions(form="naive"), out=folder)
    folded = api.export(model, options, out=folder)
    for_openvino = api.export(
        model, options, ExportOptions(form="convC", target=OPENVINO), out=folder / "openvino"
    )
    names = ["fp32, plain", "fp32, folded", f"fp32, folded, {OPENVINO}"]
    files = [plain, folded, for_openvino]
    for file in FILES:
        # ranges do not matter for speed: the embedded digits are enough
        quantize_options = replace(file, calib="digits" if is_calibrated(file) else "", n=16)
        files.append(api.quantize(model, quantize_options, options, out=folder))
        names.append(name_of(file))
    report = quietest(lambda: api.bench([f.path for f in files]), TRIES)
    speed = report.speeds
    rows = []
    for name, file, result in zip(names, files, report.results, strict=True):
        ratio = speed.get(result.artifact)
        rows.append(
            {
                "name": name,
                "size_bytes": file.manifest.size_bytes,
                "speed": ratio.median if ratio else 1.0,
                "ci95": ratio.ci95 if ratio else None,
            }
            | result.model_dump(mode="json", exclude={"samples_ms", "rounds"})
        )
    return {
        "model": model,
        "noise_floor": floor_of(report),
        "rows": rows,
    }
