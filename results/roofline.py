"""Where the time of an inference goes, and how far each part is from what this machine can do."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from inputs import MODEL, OPENVINO, SIZE, SMALL

from edgenext import api
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.schema import OperatorTime, ProfileReport

PROFILED = 60
"""Inferences in a profile."""
TOP = 12
"""Operators of the largest gaps that are kept."""
FILES = {
    "fp32, folded": ("", "cpu-onnxruntime"),
    "fp32, folded, cpu-openvino": ("", OPENVINO),
    "w8a8-static, cpu-onnxruntime, edgenext": ("w8a8-static", "cpu-onnxruntime"),
    "w8a8-static, cpu-openvino, edgenext": ("w8a8-static", OPENVINO),
}
"""Name in results → scheme and target."""
CONDITIONS = {MODEL: [(1, 1)], SMALL: [(1, 1), (8, 1), (1, 2)]}
"""Batch and threads with which each network's files are profiled; float files with the first."""


def roofline(model: str, folder: Path) -> dict[str, Any]:
    """The profiles of a network's files; random weights."""
    rows = []
    for i, (batch, threads) in enumerate(CONDITIONS[model]):
        for name, (scheme, target) in FILES.items():
            if i and not scheme:
                continue
            file = _file(model, scheme, target, batch, folder)
            report = api.profile(file, threads=threads, n=PROFILED // batch)
            rows.append({"name": name, "batch": batch, "threads": threads} | _summary(report))
    return {"model": model, "files": rows}


def _file(model: str, scheme: str, target: str, batch: int, folder: Path) -> Path:
    options = ModelOptions(random_weights=True, size=SIZE)
    if not scheme:
        return api.export(model, options, ExportOptions(target=target), out=folder).path
    quantize_options = QuantizeOptions(scheme, target, calib="digits", n=16)
    export_options = ExportOptions(batch=batch)
    return api.quantize(model, quantize_options, options, export_options, out=folder).path


def _summary(report: ProfileReport) -> dict[str, Any]:
    """A profile: in all, by part of the network, and the operators with the largest gaps."""
    parts: dict[str, list[OperatorTime]] = defaultdict(list)
    for row in report.rows:
        parts[part_of(row)].append(row)
    by_part = {part: _sums(rows) for part, rows in parts.items()}
    worst = sorted(report.rows, key=lambda row: -row.gap_ms)[:TOP]
    return {
        "runtime": report.runtime,
        "p50_ms": round(report.p50_ms, 3),
        "total_ms": round(report.total_ms, 3),
        "limit_ms": round(report.limit_ms, 3),
        "peaks": report.peaks,
        "bandwidth": report.bandwidth,
        "parts": dict(sorted(by_part.items(), key=lambda item: -item[1]["gap_ms"])),
        "largest_gaps": [
            {"operator": row.operator, "site": row.site} | _sums([row]) for row in worst
        ],
    }


def part_of(row: OperatorTime) -> str:
    """The part of a block that an operator belongs to: the end of its site's name."""
    named = [word for word in row.site.split(".") if word and not word.isdecimal()]
    return named[-1] if named else "added by the runtime"


def _sums(rows: list[OperatorTime]) -> dict[str, float]:
    return {
        "ms": round(sum(row.ms for row in rows), 4),
        "limit_ms": round(sum(row.limit_ms or 0.0 for row in rows), 4),
        "gap_ms": round(sum(row.gap_ms for row in rows), 4),
    }
