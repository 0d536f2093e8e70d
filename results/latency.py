"""Latency of every file side by side, and profiles of their time by operator."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from accuracy import FILES
from inputs import OPENVINO, SIZE, SMALL, train_images

from edgenext import api
from edgenext.benchmark.noise import floor_of
from edgenext.benchmark.retry import quietest
from edgenext.formats.artifact import Artifact
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions

TRIES = 4
"""Attempts at most while the machine is noisy."""
PROFILED = 60
"""Inferences in a profile."""


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
    for scheme, target, engine in FILES:
        # ranges do not matter for speed: the embedded digits are enough
        calib = "digits" if scheme == "w8a8-static" else ""
        quantize_options = QuantizeOptions(scheme, target, engine, calib=calib, n=16)
        files.append(api.quantize(model, quantize_options, options, out=folder))
        names.append(f"{scheme}, {target}, {engine}")
    report = quietest(lambda: api.bench([f.path for f in files]), TRIES)
    speed = {r.b: r for r in report.ratios if r.a == report.results[0].artifact}
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
        "profile": {n: profile(f) for n, f in zip(names, files, strict=True) if _profiled(f)},
    }


def _profiled(file: Artifact) -> bool:
    """Whether a file is one of those before and after quantization, in onnxruntime."""
    return file.manifest.target != OPENVINO and file.manifest.scheme in ("fp32", "w8a8-static")


def profile(file: Artifact) -> dict[str, float]:
    """Milliseconds per inference by operator, in onnxruntime; profiling itself costs some time."""
    times = api.profile(file.path, n=PROFILED).by_operator
    return {operator: round(ms, 3) for operator, ms in times.items()}


def calibration_seconds(data: Path, folder: Path) -> dict[str, float]:
    """Seconds to quantize EdgeNeXt-S at 256 px with 128 images, without decoding."""
    options = ModelOptions(random_weights=True, size=SIZE)
    quantize_options = QuantizeOptions(calib=train_images(data))
    times: dict[str, float] = {}

    def note_time(task: str, done: int, total: int) -> None:
        now = time.perf_counter()
        if task == "calibrating" and done == 1:
            times["start"] = now
        if done == total:
            times[task] = now

    context = api.Context(note_time)
    api.quantize(SMALL, quantize_options, options, out=folder / "seconds", context=context)
    return {
        "calibration": round(times["calibrating"] - times["start"], 1),
        "calibration and moments": round(times["rounding weights"] - times["start"], 1),
        "in all": round(time.perf_counter() - times["start"], 1),
    }
