"""The published figures, measured again on this machine: accuracy, stressed twins and latency.

    python results/measure.py --data DIR --weights FILE [--out results]

Accuracy needs the Tiny-ImageNet zips and the weights trained on them; latency needs neither. Writes
`<ISA>.json` and prints the tables of the README.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from edgenext import api
from edgenext.benchmark.environment import environment, isa_label
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions

STRENGTH = 3.0
SEEDS = (0, 1, 2)


def accuracy(data: Path, weights: Path, folder: Path) -> list[dict[str, Any]]:
    """Top-1 and paired drops of INT8, ours and onnxruntime's, on the network and its twins."""
    model, val = "edgenext_xx_small", str(data / "tiny-imagenet-val.zip")
    plain = api.export(
        model, ModelOptions(weights), ExportOptions(form="naive"), out=folder, data=val
    )
    folded = api.export(model, ModelOptions(weights), out=folder, data=val)
    files = {"fp32, PyTorch": model, "fp32, folded": str(folded.path)}
    networks = {"": weights}
    for seed in SEEDS:
        twin = folder / f"twin{seed}.safetensors"
        api.stress(model, twin, ModelOptions(weights), seed=seed, strength=STRENGTH)
        networks[f", twin {seed}"] = twin
    for suffix, file in networks.items():
        for engine in ("edgenext", "onnxruntime"):
            how = QuantizeOptions(engine=engine, calib=data / "tiny-imagenet-train.zip")
            made = api.quantize(model, how, ModelOptions(file), out=folder)
            files[f"w8a8-static, {engine}{suffix}"] = str(made.path)
    report = api.compare(str(plain.path), list(files.values()), val, ModelOptions(weights))
    rows = [{"name": "fp32, plain", "n": report.n, "top1": report.base.top1}]
    for name, other in zip(files, report.others, strict=True):
        rows.append({"name": name, "n": report.n} | other.model_dump(mode="json"))
    return rows


def latency(model: str, folder: Path, size: int = 256) -> dict[str, Any]:
    """One thread, batch 1, random weights: plain and folded FP32, INT8 of both engines."""
    options = ModelOptions(random_weights=True, size=size)
    plain = api.export(model, options, ExportOptions(form="naive"), out=folder)
    files = [plain, api.export(model, options, out=folder)]
    for engine in ("edgenext", "onnxruntime"):
        # ranges do not matter for speed: the embedded digits will do
        how = QuantizeOptions(engine=engine, calib="digits", n=16)
        files.append(api.quantize(model, how, options, out=folder))
    report = api.bench([f.path for f in files])
    sizes = {f.name: f.manifest.size_bytes for f in files}
    return {
        "model": model,
        "size_bytes": sizes,
        "results": [
            r.model_dump(mode="json", exclude={"samples_ms", "rounds"}) for r in report.results
        ],
        "speed": [r.model_dump(mode="json") for r in report.ratios if r.a == files[0].name],
    }


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    env = environment()
    found: dict[str, Any] = {"isa": isa_label(env), "environment": env.model_dump(mode="json")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.data and arguments.weights:
            found["accuracy"] = accuracy(arguments.data, arguments.weights, folder)
        found["latency"] = [latency(m, folder) for m in ("edgenext_xx_small", "edgenext_small")]
    path = arguments.out / f"{isa_label(env).lower()}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


def show(found: dict[str, Any]) -> None:
    """The tables, as Markdown."""
    print(f"## {found['isa']}: {found['environment']['cpu']}")
    for row in found.get("accuracy", []):
        drop = row.get("drop")
        rest = (
            f"| {drop['points']:+.2f} ({drop['ci95'][0]:+.2f} to {drop['ci95'][1]:+.2f}) | "
            f"{drop['lost']} / {drop['gained']} | {row['agreement']:.2f} | {row['sqnr_db']:.1f} |"
            if drop
            else "| base | | | |"
        )
        print(f"| {row['name']} | {row['top1']:.2f} {rest}")
    for entry in found["latency"]:
        speed = {r["b"]: r for r in entry["speed"]}
        for r in entry["results"]:
            times = "1"
            if s := speed.get(r["artifact"]):
                times = f"{s['median']:.2f}x ({s['ci95'][0]:.2f} to {s['ci95'][1]:.2f})"
            valid = "" if r["valid"] else f" NOT VALID: {'; '.join(r['reasons'])}"
            print(
                f"| {r['artifact']} | {r['latency_ms']['p50']:.2f} | {times} | "
                f"{entry['size_bytes'][r['artifact']] / 1e6:.2f} | {r['peak_rss_mb']:.0f} |{valid}"
            )


if __name__ == "__main__":
    main()
