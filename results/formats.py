"""Every format and scheme: conversion cost, fidelity, and latency if it runs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inputs import MODEL, SIZE, SMALL, STRENGTH, train_images, val_images
from latency import TRIES

from edgenext import api
from edgenext.benchmark.retry import quietest
from edgenext.formats.artifact import Artifact
from edgenext.formats.format import require_format
from edgenext.options import ExportOptions, ModelOptions, OptionValues, QuantizeOptions
from edgenext.schema import BenchReport
from edgenext.targets.scheme import CALIBRATED

Row = tuple[str, str, OptionValues]

ROWS: tuple[Row, ...] = (
    ("onnx", "fp32", {}),
    ("onnx", "w8a8-static", {}),
    ("openvino", "fp32", {}),
    ("openvino", "fp16", {}),
    ("openvino", "bf16", {}),
    ("openvino", "w8a8-static", {}),
    ("tflite", "fp32", {}),
    ("tflite", "fp16", {}),
    ("tflite", "w8-weight-only", {}),
    ("tflite", "w8a8-dynamic", {}),
    ("tflite", "w8a8-static", {}),
    ("tflite", "w8a8-static", {"integer_io": True}),
    ("tflite", "w8a16-static", {}),
    ("tflite", "fp32", {"converter": "tensorflow"}),
    ("tflite", "w8a8-dynamic", {"converter": "tensorflow"}),
    ("tflite", "w8a8-static", {"converter": "tensorflow"}),
    ("executorch", "fp32", {}),
    ("executorch", "w8a8-static", {}),
    ("coreml", "fp32", {}),
    ("coreml", "fp16", {}),
    ("coreml", "w8-weight-only", {}),
    ("coreml", "w6-palettized", {}),
    ("coreml", "w4-palettized", {}),
    ("coreml", "w8a8-static", {}),
    ("tensorrt", "fp32", {}),
    ("tensorrt", "fp16", {}),
    ("tensorrt", "w8a8-static", {}),
)
"""Format, scheme and format options of every file."""

ON_TWINS: tuple[Row, ...] = (("tflite", "w8a8-static", {}), ("coreml", "w8a8-static", {}))


def formats(data: Path, weights: Path, folder: Path) -> dict[str, Any]:
    """Files of the trained XXS at 64 px with their drops, and of both models at 256 px."""
    return {
        "accuracy": _accuracy(data, weights, folder),
        "latency": [_latency(model, folder / model) for model in (MODEL, SMALL)],
    }


def make(row: Row, model: str, options: ModelOptions, calib: str | Path, out: Path) -> Artifact:
    """The file of a row."""
    name, scheme, format_options = row
    export_options = ExportOptions(format=name, format_options=format_options)
    folder = out / "-".join([name, scheme, *map(str, format_options.values())])
    if scheme == "fp32":
        return api.export(model, options, export_options, out=folder)
    quantize_options = QuantizeOptions(
        scheme,
        require_format(name).target,
        calib=calib if scheme in CALIBRATED else "",
        n=16 if calib == "digits" else 128,
    )
    return api.quantize(model, quantize_options, options, export_options, out=folder)


def conversion_facts(row: Row, file: Artifact) -> dict[str, Any]:
    """A file's size, parity and conversion, from its manifest; `told` are the format options."""
    name, scheme, format_options = row
    m = file.manifest
    timed = file.timed or m.conversion
    conversion = timed.model_dump() if timed else {}
    return {
        "format": name,
        "scheme": scheme,
        "told": format_options,
        "size_bytes": m.size_bytes,
        "parity_db": m.parity.sqnr_db if m.parity else None,
        "converter": conversion.get("converter", ""),
        "seconds": conversion.get("seconds"),
        "peak_mb": conversion.get("peak_mb"),
        "nodes": sum(conversion.get("operators", {}).values()) or None,
        "transposes": m.conversion.transposes if m.conversion else None,
        "partitions": conversion.get("partitions"),
    }


def _accuracy(data: Path, weights: Path, folder: Path) -> list[dict[str, Any]]:
    options, train = ModelOptions(weights), train_images(data)
    files = [(row, make(row, MODEL, options, train, folder / "xxs"), "") for row in ROWS]
    for seed in range(2):
        twin = folder / f"formats-twin{seed}.safetensors"
        api.stress(MODEL, options, out=twin, seed=seed, strength=STRENGTH)
        out = folder / f"twin{seed}"
        files += [
            (row, make(row, MODEL, ModelOptions(twin), train, out), f"twin {seed}")
            for row in ON_TWINS
        ]
    paths = [str(file.path) for _, file, _ in files]
    report = api.compare(MODEL, paths, val_images(data), options)
    return [
        conversion_facts(row, file) | {"twin": twin, "n": report.n} | other.model_dump(mode="json")
        for (row, file, twin), other in zip(files, report.others, strict=True)
    ]


def _latency(model: str, folder: Path) -> dict[str, Any]:
    options = ModelOptions(random_weights=True, size=SIZE)
    plain = api.export(model, options, ExportOptions(form="naive"), out=folder)
    rows = ROWS if model == SMALL else tuple(filter(_is_timed, ROWS))
    files = [make(row, model, options, "digits", folder) for row in rows]
    timed = [file for row, file in zip(rows, files, strict=True) if _is_timed(row)]
    report = quietest(
        lambda: api.bench([plain.path, *(file.path for file in timed)]),
        TRIES,
    )
    timings = {file.path: _timing(report, i + 1) for i, file in enumerate(timed)}
    facts = [
        conversion_facts(row, file) | timings.get(file.path, {})
        for row, file in zip(rows, files, strict=True)
    ]
    return {"model": model, "base_ms": report.results[0].p50_ms, "rows": facts}


def _is_timed(row: Row) -> bool:
    """Whether a file's latency on this machine is meaningful for its format."""
    name, scheme, _ = row
    return name not in ("coreml", "tensorrt") and scheme not in ("w8a16-static", "w8-weight-only")


def _timing(report: BenchReport, index: int) -> dict[str, Any]:
    base, result = report.results[0], report.results[index]
    ratio = next(r for r in report.ratios if (r.a, r.b) == (base.artifact, result.artifact))
    return {
        "p50_ms": result.p50_ms,
        "speed": ratio.median,
        "ci95": ratio.ci95,
        "valid": result.valid,
        "reasons": result.reasons,
    }


def show(results: dict[str, Any]) -> None:
    """Print the tables as Markdown."""
    for r in results["accuracy"]:
        low, high = r["drop"]["ci95"]
        cells = [
            _name(r),
            f"{r['scheme']} {r['twin']}".strip(),
            f"{r['size_bytes'] / 1e6:.2f}",
            *_conversion(r),
            f"{r['top1']:.2f}",
            f"{r['drop']['points']:+.2f} ({low:+.2f} to {high:+.2f})",
            f"{r['agreement']:.2f}",
            f"{r['sqnr_db']:.1f}",
        ]
        print(f"| {' | '.join(cells)} |")
    for entry in results["latency"]:
        print(f"### {entry['model']}, plain FP32 in onnxruntime {entry['base_ms']:.2f} ms")
        for r in entry["rows"]:
            cells = [
                _name(r),
                r["scheme"],
                f"{r['size_bytes'] / 1e6:.2f}",
                *_conversion(r),
                _timed(r),
            ]
            print(f"| {' | '.join(cells)} |")


def _name(row: dict[str, Any]) -> str:
    options = (k.replace("_", " ") if v is True else str(v) for k, v in row["told"].items())
    return ", ".join([row["format"], *options])


def _conversion(row: dict[str, Any]) -> list[str]:
    if not row["nodes"]:
        return [""] * 5
    return [
        str(row["nodes"]),
        str(row["transposes"]),
        str(row["partitions"] or ""),
        f"{row['seconds']:.0f}",
        f"{row.get('peak_mb') or 0:.0f}",
    ]


def _timed(row: dict[str, Any]) -> str:
    if "speed" not in row:
        return ""
    low, high = row["ci95"]
    valid = "" if row["valid"] else f" NOT VALID: {'; '.join(row['reasons'])}"
    return f"{row['p50_ms']:.2f} ms, {row['speed']:.2f}x ({low:.2f} to {high:.2f}){valid}"
