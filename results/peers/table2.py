"""Table 2 of the paper, again: latency of EdgeNeXt beside other networks of its size class.

    python results/peers/table2.py --work DIR [--only NAME …] [--rounds 30] [--out FILE]

Every network is exported to plain ONNX as its users export it, and quantized by onnxruntime and by
NNCF; EdgeNeXt also by this package. All files take turns in one benchmark, one thread, one image.
Weights are random: this is about speed. Files that are in DIR already are not made again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgenext import api
from edgenext.benchmark.environment import environment
from edgenext.benchmark.interleave import Rounds
from edgenext.benchmark.latency import bench_artifacts
from edgenext.benchmark.noise import floor_of, latency_ratio
from edgenext.benchmark.retry import quietest
from edgenext.formats.artifact import Artifact, content_sha256, content_size, open_artifact
from edgenext.formats.openvino.session import preload, telemetry_hidden
from edgenext.metrics.statistics import bootstrap_median_interval
from edgenext.options import BenchOptions, ExportOptions, ModelOptions, QuantizeOptions
from edgenext.quantize.baselines import onnxruntime_tuned
from edgenext.schema import BenchReport, BenchResult, EvalTransform, Manifest, TensorSpec

HERE = Path(__file__).parent
OPSET = 17
"""That timm's own export writes, or later."""
CALIBRATION = 16
"""Images of noise: ranges do not matter for speed."""
TOOLS = ("onnxruntime", "openvino", "nncf", "torch", "timm")
TRIES = 3
"""Attempts at most while the machine is noisy."""

Row = dict[str, Any]


def main() -> None:
    """Make the files, measure them, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the files")
    parser.add_argument("--only", nargs="*", help="networks; default: all of table2.toml")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE / "table2.json")
    args = parser.parse_args()
    table = tomllib.loads((HERE / "table2.toml").read_text("utf-8"))
    networks = [n for n in table["network"] if not args.only or n["name"] in args.only]
    facts, files = [], {}
    for row in networks:
        print(f"{row['name']}: making its files", flush=True)
        made = network_files(row, args.work / row["name"])
        facts.append(
            {
                "name": row["name"],
                "size": _size(row),
                "parameters": sum(p.numel() for p in network_of(row).parameters()),
                "macs": multiply_adds(onnx.load(made["fp32, onnxruntime"].path)),
            }
        )
        files |= {(row["name"], kind): artifact for kind, artifact in made.items()}
    options = BenchOptions(threads=args.threads, rounds=args.rounds)
    report = quietest(lambda: bench_artifacts(list(files.values()), options, _say), TRIES)
    result = {
        "date": date.today().isoformat(),
        "environment": environment().model_dump(mode="json"),
        "tools": {name: version(name) for name in TOOLS},
        "threads": args.threads,
        "rounds": args.rounds,
        "noise_floor": floor_of(report),
        "networks": [row | {"files": list(_timings(row["name"], files, report))} for row in facts],
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    show(result)


def network_files(row: Row, folder: Path) -> dict[str, Artifact]:
    """The files of a network by precision and runtime."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = folder / "fp32.onnx"
    if not plain.is_file():
        export(network_of(row), _size(row), plain)
    static, nncf = folder / "onnxruntime.onnx", folder / "nncf.xml"
    images = list(_noise(_size(row)))
    if not static.is_file():
        onnx.save(onnxruntime_tuned(onnx.load(plain), images), static)
    if not nncf.is_file():
        quantize_for_openvino(plain, nncf, images, attention=row.get("attention", False))
    files = {
        "fp32, onnxruntime": described(row, plain, "onnx", "cpu-onnxruntime", "fp32"),
        "fp32, openvino": described(row, plain, "onnx", "cpu-openvino", "fp32"),
        "int8, onnxruntime": described(row, static, "onnx", "cpu-onnxruntime", "w8a8-static"),
        "int8, openvino": described(row, nncf, "openvino", "cpu-openvino", "w8a8-static"),
    }
    return files | (own_files(row, folder) if row.get("ours") else {})


def network_of(row: Row) -> torch.nn.Module:
    """A network in evaluation mode, as it is deployed, with random weights."""
    if row.get("ours"):
        return api.load_checkpoint(row["name"], random_weights=True).network()
    import timm
    from timm.utils.model import reparameterize_model

    torch.manual_seed(0)
    sized = {"img_size": _size(row)} if row["name"].startswith("efficientformerv2") else {}
    network: torch.nn.Module = timm.create_model(row["name"], exportable=True, **sized).eval()
    if row.get("fuse"):
        network = reparameterize_model(network)
    return network


def export(network: torch.nn.Module, size: int, path: Path) -> None:
    """A network as plain ONNX, for one image."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, size, size),),
            path,
            input_names=["input"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=False,
        )


def quantize_for_openvino(
    source: Path, path: Path, images: Sequence[NDArray[np.float32]], *, attention: bool
) -> None:
    """NNCF's INT8 of an ONNX file, as OpenVINO's IR."""
    ov = preload()
    with warnings.catch_warnings(), telemetry_hidden():
        warnings.simplefilter("ignore")
        import nncf

        quantized = nncf.quantize(
            ov.Core().read_model(source),
            nncf.Dataset(images),
            subset_size=len(images),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER if attention else None,
        )
    ov.save_model(quantized, path, compress_to_fp16=False)


def own_files(row: Row, folder: Path) -> dict[str, Artifact]:
    """What this package makes of a network: folded, and in INT8, for both runtimes."""
    name, options = row["name"], ModelOptions(random_weights=True, size=_size(row))
    files = {}
    for runtime in ("onnxruntime", "openvino"):
        target, out = f"cpu-{runtime}", folder / runtime
        quantize_options = QuantizeOptions(target=target, calib="digits", n=CALIBRATION)
        if not out.is_dir():
            api.export(name, options, ExportOptions(target=target), out=out)
            api.quantize(name, quantize_options, options, out=out)
        for kind, scheme in (("fp32", "fp32"), ("int8", "w8a8-static")):
            (path,) = out.glob(f"*{scheme}.onnx")
            files[f"{kind}, {runtime}, this package"] = open_artifact(path)
    return files


def described(row: Row, path: Path, format_name: str, target: str, scheme: str) -> Artifact:
    """A file of another tool with the manifest that a benchmark needs."""
    size = _size(row)
    manifest = Manifest(
        file=path.name,
        format=format_name,
        scheme=scheme,
        form="naive",
        target=target,
        arch=row["name"],
        num_classes=1000,
        eval=EvalTransform(size=size),
        input=TensorSpec(name="input", shape=(1, 3, size, size), dtype="float32"),
        outputs=(TensorSpec(name="logits", shape=(1, 1000), dtype="float32"),),
        sha256=content_sha256(path),
        size_bytes=content_size(path),
        source={},
        tools={},
    )
    return Artifact(path, manifest)


def multiply_adds(model: onnx.ModelProto) -> int:
    """Those of one image, in convolutions, linear layers and matrix products."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {t.name: list(t.dims) for t in graph.initializer} | {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*graph.value_info, *graph.output, *graph.input)
    }
    total = 0
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            first, second = (shapes[name] for name in node.input[:2])
            inner = int(np.prod(second[1:])) if node.op_type == "Conv" else first[-1]
            total += int(np.prod(shapes[node.output[0]])) * inner
    return total


def _timings(
    name: str, files: dict[tuple[str, str], Artifact], report: BenchReport
) -> Iterator[Row]:
    """The timing of each file of a network; speed is that against its FP32 in onnxruntime."""
    of_network = [
        (kind, result)
        for (network, kind), result in zip(files, report.results, strict=True)
        if network == name
    ]
    base = of_network[0][1]
    for kind, result in of_network:
        rounds = _rounds(result)
        ratio = latency_ratio(
            (base.artifact, result.artifact),
            (_rounds(base), rounds),
            floor=floor_of(report),
            seed=0,
            valid=base.valid and result.valid,
        )
        medians = np.array([statistics.median(one) for one in rounds])
        yield {
            "kind": kind,
            "size_bytes": files[name, kind].manifest.size_bytes,
            "p50_ms": result.latency_ms.p50,
            "p50_ci95": bootstrap_median_interval(medians, 0),
            "p99_ms": result.latency_ms.p99,
            "n": result.n,
            "speed": ratio.median,
            "ci95": None if result is base else ratio.ci95,
            "valid": result.valid,
            "reasons": result.reasons,
        }


def _rounds(result: BenchResult) -> Rounds:
    """Samples in ms by round."""
    ends = np.cumsum(result.rounds)
    return [list(result.samples_ms[e - n : e]) for n, e in zip(result.rounds, ends, strict=True)]


def _size(row: Row) -> int:
    return int(row.get("size", 256))


def _noise(size: int) -> Iterator[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    for _ in range(CALIBRATION):
        yield rng.normal(size=(1, 3, size, size)).astype(np.float32)


def _say(task: str, done: int, total: int) -> None:
    if total and done % 10 == 0:
        print(f"{task}: {done} of {total}", flush=True)


def show(result: Row) -> None:
    """Print the figures."""
    for row in result["networks"]:
        print(f"{row['name']} {row['parameters'] / 1e6:.2f} M {row['macs'] / 1e6:.0f} M MACs")
        for f in row["files"]:
            low, high = f["p50_ci95"]
            valid = "" if f["valid"] else f"  NOT VALID: {'; '.join(f['reasons'])}"
            print(
                f"  {f['kind']:32} {f['p50_ms']:7.2f} ms ({low:.2f} to {high:.2f}) "
                f"{f['speed']:.2f}x{valid}"
            )


if __name__ == "__main__":
    main()
