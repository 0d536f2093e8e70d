"""The published figures, measured again on this machine: accuracy, ablation, twins and latency.

    python results/measure.py --data DIR --weights FILE [--out results] [--only accuracy …]

Accuracy needs the Tiny-ImageNet zips and the weights trained on them; latency needs neither. Writes
`<ISA>.json`, keeping the parts that were not measured anew, and prints the tables of the README.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablation import ablation
from accuracy import accuracy, fidelity
from formats import formats
from formats import show as show_formats
from latency import calibration_seconds, latency
from vendors import vendors

from edgenext.benchmark.environment import environment, isa_label

NEED_DATA = ("accuracy", "ablation", "fidelity", "seconds", "formats", "vendors")
MODELS = ("edgenext_xx_small", "edgenext_small")


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--only", nargs="*", help="parts to measure; the others are kept")
    asked = parser.parse_args()
    env = environment()
    path = asked.out / f"{isa_label(env).lower()}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if asked.only and path.is_file() else {}
    found |= {"isa": isa_label(env), "environment": env.model_dump(mode="json")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Callable[[], Any]] = {
            "latency": lambda: [latency(m, folder / m) for m in MODELS],
            "seconds": lambda: calibration_seconds(asked.data, folder),
            "accuracy": lambda: accuracy(asked.data, asked.weights, folder),
            "ablation": lambda: ablation(asked.data, asked.weights, folder),
            "fidelity": lambda: fidelity(asked.data, folder),
            "formats": lambda: formats(asked.data, asked.weights, folder),
            "vendors": lambda: vendors(asked.data, asked.weights, folder),
        }
        for part, measure in parts.items():
            ready = part not in NEED_DATA or (asked.data and asked.weights)
            if ready and (not asked.only or part in asked.only):
                found[part] = measure()
                path.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


def show(found: dict[str, Any]) -> None:
    """The tables, as Markdown."""
    print(f"## {found['isa']}: {found['environment']['cpu']}")
    for part in ("accuracy", "ablation"):
        print(f"### {part}")
        for row in found.get(part, []):
            print(_row(row))
    print("### fidelity")
    for row in found.get("fidelity", []):
        print(
            f"| {row['arch']} | {row['target']} | {row['sqnr_db']:.1f} | {row['cosine']:.5f} | "
            f"{row['agreement']:.1f} |"
        )
    for entry in found.get("latency", []):
        print(f"### {entry['model']}")
        for r in entry["rows"]:
            low, high = r["ci95"] or (1, 1)
            valid = "" if r["valid"] else f" NOT VALID: {'; '.join(r['reasons'])}"
            print(
                f"| {r['name']} | {r['latency_ms']['p50']:.2f} | {r['speed']:.2f}x "
                f"({low:.2f} to {high:.2f}) | {r['size_bytes'] / 1e6:.2f} |{valid}"
            )
    print("### seconds", found.get("seconds"))
    if "formats" in found:
        show_formats(found["formats"])


def _row(row: dict[str, Any]) -> str:
    drop = row.get("drop")
    if drop is None:
        return f"| {row['name']} | {row['top1']:.2f} | base | | | |"
    low, high = drop["ci95"]
    return (
        f"| {row['name']} | {row['top1']:.2f} | {drop['points']:+.2f} ({low:+.2f} to {high:+.2f}) "
        f"| {drop['lost']} / {drop['gained']} | {row['agreement']:.2f} | {row['sqnr_db']:.1f} |"
    )


if __name__ == "__main__":
    main()
