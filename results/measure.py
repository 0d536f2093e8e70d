"""Measure the published figures on this machine: accuracy, ablation, latency, costs and others.

    python results/measure.py --data DIR --weights FILE [--out results] [--only accuracy …]

Accuracy needs the Tiny-ImageNet zips and the weights trained on them; latency needs neither. Writes
`<ISA>.json`, in which parts that are not measured stay unchanged, and prints them.
`python results/tables.py` then writes docs/results.md and the figures of README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from ablation import ablation
from accuracy import accuracy, fidelity
from formats import formats
from formats import show as show_formats
from inputs import MODEL, SMALL
from latency import latency
from roofline import roofline
from toolchain import toolchain
from training import training
from vendors import vendors

from edgenext.benchmark.environment import environment, isa_label

NEED_DATA = (
    *("accuracy", "ablation", "fidelity", "formats", "training", "vendors"),
    "toolchain",
)


def main() -> None:
    """Measure the parts that are possible, write and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--only", nargs="*", help="parts to measure; the others stay unchanged")
    args = parser.parse_args()
    env = environment()
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{isa_label(env).lower()}.json"
    results: dict[str, Any] = json.loads(path.read_text()) if args.only and path.is_file() else {}
    results |= {"isa": isa_label(env), "environment": env.model_dump(mode="json")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Callable[[], Any]] = {
            "latency": lambda: [latency(m, folder / m) for m in (MODEL, SMALL)],
            "roofline": lambda: [roofline(m, folder / m) for m in (MODEL, SMALL)],
            "accuracy": lambda: accuracy(args.data, args.weights, folder),
            "ablation": lambda: ablation(args.data, args.weights, folder),
            "fidelity": lambda: fidelity(args.data, folder),
            "formats": lambda: formats(args.data, args.weights, folder),
            "training": lambda: training(args.data, args.weights, folder),
            "vendors": lambda: vendors(args.data, args.weights, folder),
            "toolchain": lambda: toolchain(args.data.resolve(), args.weights.resolve(), folder),
        }
        for part, measure in parts.items():
            possible = part not in NEED_DATA or (args.data and args.weights)
            if possible and (not args.only or part in args.only):
                results[part] = measure()
                results["dates"] = results.get("dates", {}) | {part: date.today().isoformat()}
                path.write_text(json.dumps(results, indent=1) + "\n")
    show(results)


def show(results: dict[str, Any]) -> None:
    """Print the tables as Markdown."""
    print(f"## {results['isa']}: {results['environment']['cpu']}")
    for part in ("accuracy", "ablation"):
        print(f"### {part}")
        for row in results.get(part, []):
            print(_row(row))
    print("### fidelity")
    for row in results.get("fidelity", []):
        print(
            f"| {row['arch']} | {row['target']} | {row['sqnr_db']:.1f} | {row['cosine']:.5f} | "
            f"{row['agreement']:.1f} |"
        )
    for entry in results.get("latency", []):
        print(f"### {entry['model']}")
        for r in entry["rows"]:
            low, high = r["ci95"] or (1, 1)
            valid = "" if r["valid"] else f" NOT VALID: {'; '.join(r['reasons'])}"
            print(
                f"| {r['name']} | {r['latency_ms']['p50']:.2f} | {r['speed']:.2f}x "
                f"({low:.2f} to {high:.2f}) | {r['size_bytes'] / 1e6:.2f} |{valid}"
            )
    if "formats" in results:
        show_formats(results["formats"])


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
