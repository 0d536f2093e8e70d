"""Every format and scheme: what it costs to make, how near it is, how fast where it runs here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accuracy import STRENGTH
from latency import TRIES

from edgenext import api
from edgenext.benchmark.retry import quietest
from edgenext.formats.artifact import Artifact
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.schema import BenchReport

Told = dict[str, str | bool]
Row = tuple[str, str, Told]

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
"""Format, scheme and options of every file that is made."""

ON_TWINS: tuple[Row, ...] = (("tflite", "w8a8-static", {}), ("coreml", "w8a8-static", {}))
MODEL = "edgenext_xx_small"
SIZE = 256


def formats(data: Path, weights: Path, folder: Path) -> dict[str, Any]:
    """Files of the trained XXS at 64 px with their drops, and of both models at 256 px."""
    return {
        "accuracy": _accuracy(data, weights, folder),
        "latency": [_latency(model, folder / model) for model in (MODEL, "edgenext_small")],
    }


def make(row: Row, model: str, options: ModelOptions, calib: str | Path, out: Path) -> Artifact:
    """One file."""
    kind, scheme, told = row
    how = ExportOptions(format=kind, format_options=told)
    into = out / "-".join([kind, scheme, *map(str, told.values())])
    if scheme == "fp32":
        return api.export(model, options, how, out=into)
    target = api.resolved(how).target
    static = scheme in ("w8a8-static", "w8a16-static")
    n = 16 if calib == "digits" else 128
    asked = QuantizeOptions(scheme, target, calib=calib if static else "", n=n)
    return api.quantize(model, asked, options, how, out=into)


def about(row: Row, file: Artifact) -> dict[str, Any]:
    """What a file's manifest says of how it was made."""
    kind, scheme, told = row
    m = file.manifest
    made = m.conversion.model_dump() if m.conversion else {}
    return {
        "format": kind,
        "scheme": scheme,
        "told": told,
        "size_bytes": m.size_bytes,
        "parity_db": m.parity.sqnr_db if m.parity else None,
        "converter": made.get("converter", ""),
        "seconds": made.get("seconds"),
        "peak_mb": made.get("peak_mb"),
        "nodes": sum(made.get("operators", {}).values()) or None,
        "transposes": m.conversion.transposes if m.conversion else None,
        "partitions": made.get("partitions"),
    }


def _accuracy(data: Path, weights: Path, folder: Path) -> list[dict[str, Any]]:
    options, train = ModelOptions(weights), data / "tiny-imagenet-train.zip"
    files = [(row, make(row, MODEL, options, train, folder / "xxs"), "") for row in ROWS]
    for seed in range(2):
        twin = folder / f"formats-twin{seed}.safetensors"
        api.stress(MODEL, twin, options, seed=seed, strength=STRENGTH)
        into = folder / f"twin{seed}"
        files += [
            (row, make(row, MODEL, ModelOptions(twin), train, into), f"twin {seed}")
            for row in ON_TWINS
        ]
    val = str(data / "tiny-imagenet-val.zip")
    report = api.compare(MODEL, [str(file.path) for _, file, _ in files], val, options)
    return [
        about(row, file) | {"twin": twin, "n": report.n} | other.model_dump(mode="json")
        for (row, file, twin), other in zip(files, report.others, strict=True)
    ]


def _latency(model: str, folder: Path) -> dict[str, Any]:
    options = ModelOptions(random_weights=True, size=SIZE)
    plain = api.export(model, options, ExportOptions(form="naive"), out=folder)
    rows = ROWS if model == "edgenext_small" else tuple(filter(_runs_here, ROWS))
    files = [make(row, model, options, "digits", folder) for row in rows]
    timed = [file for row, file in zip(rows, files, strict=True) if _runs_here(row)]
    report = quietest(
        lambda: api.bench([plain.path, *(file.path for file in timed)]),
        TRIES,
    )
    found = {file.path: _timing(report, i + 1) for i, file in enumerate(timed)}
    told = [
        about(row, file) | found.get(file.path, {}) for row, file in zip(rows, files, strict=True)
    ]
    return {"model": model, "base_ms": report.results[0].latency_ms.p50, "rows": told}


def _runs_here(row: Row) -> bool:
    """Whether a file's latency on this machine says something of its format."""
    kind, scheme, _ = row
    return kind not in ("coreml", "tensorrt") and scheme not in ("w8a16-static", "w8-weight-only")


def _timing(report: BenchReport, index: int) -> dict[str, Any]:
    base, result = report.results[0], report.results[index]
    ratio = next(r for r in report.ratios if (r.a, r.b) == (base.artifact, result.artifact))
    return {
        "p50_ms": result.latency_ms.p50,
        "speed": ratio.median,
        "ci95": ratio.ci95,
        "valid": result.valid,
        "reasons": result.reasons,
    }


def show(found: dict[str, Any]) -> None:
    """The tables, as Markdown."""
    for r in found["accuracy"]:
        low, high = r["drop"]["ci95"]
        cells = [
            _name(r),
            f"{r['scheme']} {r['twin']}".strip(),
            f"{r['size_bytes'] / 1e6:.2f}",
            *_made(r),
            f"{r['top1']:.2f}",
            f"{r['drop']['points']:+.2f} ({low:+.2f} to {high:+.2f})",
            f"{r['agreement']:.2f}",
            f"{r['sqnr_db']:.1f}",
        ]
        print(f"| {' | '.join(cells)} |")
    for entry in found["latency"]:
        print(f"### {entry['model']}, plain FP32 in onnxruntime {entry['base_ms']:.2f} ms")
        for r in entry["rows"]:
            cells = [_name(r), r["scheme"], f"{r['size_bytes'] / 1e6:.2f}", *_made(r), _timed(r)]
            print(f"| {' | '.join(cells)} |")


def _name(row: dict[str, Any]) -> str:
    told = (k.replace("_", " ") if v is True else str(v) for k, v in row["told"].items())
    return ", ".join([row["format"], *told])


def _made(row: dict[str, Any]) -> list[str]:
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
