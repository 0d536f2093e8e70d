"""The table of other networks beside EdgeNeXt, in Markdown."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from measured import Row
from text import number, table

KINDS = {
    "fp32, onnxruntime": "FP32, onnxruntime",
    "int8, onnxruntime": "INT8, onnxruntime",
    "fp32, openvino": "FP32, OpenVINO",
    "int8, openvino": "INT8, OpenVINO",
}
"""Files that there are of every network."""
OWN = ", this package"
"""What the names of further files end with."""


def peers(folder: Path) -> str:
    """All networks: size, latency of every file, what was published of them."""
    names = tomllib.loads((folder / "table2.toml").read_text("utf-8"))
    result = json.loads((folder / "table2.json").read_text("utf-8"))
    titles = {row["name"]: row["title"] for row in names["network"]}
    published = names["published"]["rows"]
    rows = []
    for network in result["networks"]:
        files = {row["kind"]: row for row in network["files"]}
        size = "" if network["size"] == 256 else f", {network['size']} px"
        title, about = f"{titles[network['name']]}{size}", published.get(network["name"], {})
        rows.append(
            (
                title,
                number(network["parameters"] / 1e6),
                number(network["macs"] / 1e6, 0),
                *(_milliseconds(files[kind]) for kind in KINDS),
                number(about["nano_ms"], 1) if about else "",
                number(about["a100_us"], 0) if about else "",
            )
        )
        if any(kind.endswith(OWN) for kind in files):
            own = [_milliseconds(files[kind + OWN]) for kind in KINDS]
            rows.append((f"{title}{OWN}", "", "", *own, "", ""))
    head = ("", "M parameters", "M multiply-adds", *(f"{title}, ms" for title in KINDS.values()))
    head = (*head, "Jetson Nano, ms", "A100, µs")
    parts = [_about(result, names), table(head, rows)]
    if reasons := _reasons(result, titles):
        parts.append(f"Struck out, because not valid:\n\n{reasons}")
    return "\n\n".join(parts)


def _milliseconds(row: Row) -> str:
    """A median with the interval that its rounds give; struck out if it is not valid."""
    low, high = row["p50_ci95"]
    text = f"{number(row['p50_ms'])} ({number(low)}–{number(high)})"
    return text if row["valid"] else f"~~{text}~~"


def _about(result: Row, names: Row) -> str:
    env = result["environment"]
    versions = [f"{name} {version}" for name, version in result["tools"].items()]
    threads = result["threads"]
    fixed = [
        f"{row['title']} is measured at {row['size']} px, because {row['why_size']}."
        for row in names["network"]
        if "size" in row
    ]
    return " ".join(
        [
            f"{env['cpu']} ({', '.join(env['isa'])}), {env['cores']} cores; "
            f"{threads} thread{'s' if threads > 1 else ''}, one image, {result['rounds']} rounds; "
            f"{', '.join(versions)}; measured on {result['date']}. Noise floor "
            f"{100 * result['noise_floor']:.1f} %.",
            *fixed,
        ]
    )


def _reasons(result: Row, titles: Row) -> str:
    return "\n".join(
        f"- {titles[network['name']]}, {row['kind']}: {'; '.join(row['reasons'])}."
        for network in result["networks"]
        for row in network["files"]
        if not row["valid"]
    )
