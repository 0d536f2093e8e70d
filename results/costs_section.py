"""The tables of what limits an inference, and of what the commands themselves cost."""

from __future__ import annotations

from measured import Machine, Row
from text import number, table

TITLES = {
    "fp32, folded": "FP32, onnxruntime",
    "fp32, folded, cpu-openvino": "FP32, OpenVINO",
    "w8a8-static, cpu-onnxruntime, edgenext": "INT8, onnxruntime",
    "w8a8-static, cpu-openvino, edgenext": "INT8, OpenVINO",
}
SIZES = {"edgenext_xx_small": "XXS", "edgenext_small": "S"}
PARTS = 5
"""Parts of the network with the largest gaps that are named."""


def roofline(machine: Machine) -> str:
    """Each file's time, its limit, and the parts with the largest gaps."""
    rows = [
        (
            f"{SIZES[entry['model']]}, {TITLES[file['name']]}{_condition(file)}",
            _parts(file["parts"]),
            number(file["total_ms"]),
            number(file["limit_ms"]),
            number(100 * file["limit_ms"] / file["total_ms"], 0),
        )
        for entry in machine.results["roofline"]
        for file in entry["files"]
    ]
    head = ("", "largest gaps, ms", "ms", "limit ms", "% of the limit")
    return table(head, rows, text_columns=2)


def _condition(file: Row) -> str:
    """The batch and the threads of a profile, where they are not 1."""
    batch, threads = file.get("batch", 1), file.get("threads", 1)
    return (f", batch {batch}" if batch > 1 else "") + (
        f", {threads} threads" if threads > 1 else ""
    )


def _parts(parts: Row) -> str:
    largest = list(parts.items())[:PARTS]
    return ", ".join(f"{name} {number(sums['gap_ms'])}" for name, sums in largest)


def largest_gaps(machine: Machine) -> str:
    """The operators of the INT8 files of S that are furthest from their limits."""
    small = next(e for e in machine.results["roofline"] if e["model"] == "edgenext_small")
    rows = [
        (
            TITLES[file["name"]],
            gap["operator"],
            f"`{gap['site']}`" if gap["site"] else "added by the runtime",
            number(gap["ms"], 3),
            number(gap["limit_ms"], 3),
            number(gap["gap_ms"], 3),
        )
        for file in small["files"]
        if file["name"].startswith("w8a8") and not _condition(file)
        for gap in file["largest_gaps"][:PARTS]
    ]
    head = ("S", "operator", "site", "ms", "limit ms", "gap ms")
    return table(head, rows, text_columns=3)


def toolchain(machine: Machine) -> str:
    """Seconds and memory of each command."""
    rows = [
        (
            f"`{row['command']}`" if " " not in row["command"] else row["command"],
            row["of"],
            number(row["seconds"], 1),
            number(row["cpu_seconds"], 1),
            f"{row['peak_mb']:,}",
        )
        for row in machine.results["toolchain"]
        if row["exit"] == 0
    ]
    return table(("command", "of", "seconds", "of CPU", "peak MiB"), rows, text_columns=2)
