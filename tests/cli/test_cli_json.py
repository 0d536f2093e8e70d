"""The shapes of what `--json` prints: keys are added, never renamed, never of another type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_calls import FP32, INT8, MODEL, PLAIN, Cli

from edgenext.system.files import sha256_file

Artifacts = Callable[..., list[Path]]
Shape = Any
"""A type; a list of one shape; a tuple of shapes, for a list of that length; or a dict of them."""

PARITY = {
    "reference": str, "n": int, "max_abs": float, "sqnr_db": float, "agreement": float,
    "stages": dict,
}  # fmt: skip
WRITTEN = {
    "artifact": str, "manifest": str, "format": str, "scheme": str, "sha256": str,
    "size_bytes": int, "parity": PARITY,
}  # fmt: skip
MODELS = [
    {
        "name": str, "params": int, "macs_256": int, "top1": float,
        "eval": {
            "size": int, "crop_pct": float, "interpolation": str,
            "mean": (float,) * 3, "std": (float,) * 3,
        },
    }
]  # fmt: skip
EVAL = {"results": [{"artifact": str, "top1": float, "top5": float, "loss": float, "n": int}]}
COMPARE = {
    "n": int,
    "base": {"top1": float, "top5": float},
    "others": [
        {
            "artifact": str, "top1": float, "top5": float,
            "drop": {
                "points": float, "ci95": (float, float),
                "lost": int, "gained": int, "p_value": float, "interval": str,
            },
            "agreement": float, "sqnr_db": float, "cosine": float, "kl": float,
        }
    ],
}  # fmt: skip
BENCH = {
    "results": [
        {
            "artifact": str, "runtime": str, "device": str, "evidence": str,
            "threads": int, "batch": int,
            "latency_ms": {"min": float, "mean": float, "p50": float, "p90": float, "p99": float},
            "n": int, "load_ms": float, "first_ms": float, "peak_rss_mb": float,
            "valid": bool, "reasons": [str],
        }
    ],
    "ratios": [
        {
            "a": str, "b": str, "median": float, "ci95": (float, float), "valid": bool,
            "rounds_ci95": (float, float), "distinguishable": bool,
        }
    ],
    "noise": {
        "artifact": str, "ratio": float, "ci95": (float, float), "floor": float, "valid": bool,
        "reasons": [str], "samples_ms": [float], "rounds": [int],
    },
}  # fmt: skip


def check(value: Any, shape: Shape, where: str = "") -> None:
    """Compare a JSON value with a shape, naming the place of the first difference."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        assert not shape.keys() - value.keys(), where
        for key, inner in shape.items():
            check(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for i, item in enumerate(value):
            check(item, shape[0], f"{where}[{i}]")
    elif isinstance(shape, tuple):
        assert isinstance(value, list), where
        assert len(value) == len(shape), where
        for i, (item, inner) in enumerate(zip(value, shape, strict=True)):
            check(item, inner, f"{where}[{i}]")
    else:
        assert type(value) is shape, f"{where}: {value!r} is no {shape.__name__}"


def test_models(cli: Cli) -> None:
    done = cli.ok("models", "--json")
    assert not done.err
    check(done.json, MODELS)
    assert len({row["name"] for row in done.json}) == 10
    by_name = {row["name"]: row for row in done.json}
    assert by_name["edgenext_small"]["top1"] == 79.41
    assert by_name["edgenext_small"]["eval"]["crop_pct"] == 0.875
    in21k = by_name["edgenext_base_IN21K"]
    assert (in21k["eval"]["crop_pct"], in21k["timm_crop_pct"]) == (0.875, 0.95)
    assert "timm's crop" in cli.ok("models").out


@pytest.mark.parametrize("quantized", [False, True], ids=["export", "quantize"])
def test_export_and_quantize(cli: Cli, quantized: bool) -> None:
    args = ("quantize", *MODEL, "--calib", "digits", "-n", "8") if quantized else ("export", *MODEL)
    done = cli.ok(*args, "--json")
    check(done.json, WRITTEN)
    file, manifest = (Path(done.json[k]) for k in ("artifact", "manifest"))
    assert manifest == file.with_name(file.name + ".json")
    assert manifest.is_file()
    assert done.json["sha256"] == sha256_file(file)
    assert done.json["size_bytes"] == file.stat().st_size
    assert done.json["format"] == "onnx"
    assert done.json["scheme"] == ("w8a8-static" if quantized else "fp32")
    assert done.json["parity"]["reference"] == "PyTorch"
    assert done.json["conversion_parity"] is None
    if not quantized:
        stages = ["stem", "stage1", "stage2", "stage3", "stage4"]
        check(done.json["parity"]["stages"], dict.fromkeys(stages, float))


def test_eval(cli: Cli, artifacts: Artifacts) -> None:
    done = cli.ok("eval", *artifacts(FP32, INT8), "--data", "digits", "--limit", "50", "--json")
    assert not done.err
    check(done.json, EVAL)
    names = [row["artifact"] for row in done.json["results"]]
    assert names == [Path(FP32).stem, Path(INT8).stem]
    assert [row["n"] for row in done.json["results"]] == [50, 50]


def test_compare(cli: Cli, artifacts: Artifacts) -> None:
    files = artifacts(PLAIN, FP32, INT8)
    done = cli.ok("compare", *files, "--data", "digits", "--json")
    assert not done.err
    check(done.json, COMPARE)
    folded, quantized = done.json["others"]
    assert [folded["artifact"], quantized["artifact"]] == [Path(FP32).stem, Path(INT8).stem]
    assert folded["drop"] | {"ci95": None} == {
        "points": 0.0, "ci95": None, "lost": 0, "gained": 0, "p_value": 1.0,
        "interval": "tango",
    }  # fmt: skip
    assert folded["sqnr_db"] > 100 > quantized["sqnr_db"] > 15
    drop = quantized["drop"]
    assert drop["points"] == pytest.approx(100 * (drop["lost"] - drop["gained"]) / 602)
    assert drop["ci95"][0] <= drop["points"] <= drop["ci95"][1]
    assert done.json["n"] == 602


def test_bench(cli: Cli, artifacts: Artifacts) -> None:
    done = cli.ok("bench", *artifacts(FP32, INT8), "--rounds", "3", "--json")
    assert not done.err
    check(done.json, BENCH)
    for row in done.json["results"]:
        assert (row["runtime"], row["device"], row["evidence"]) == ("onnxruntime", "cpu", "host")
        assert not row["valid"]
        assert any("too few rounds" in reason for reason in row["reasons"])
        times = [row["latency_ms"][k] for k in ("min", "p50", "p90", "p99")]
        assert times == sorted(times)
    there, back = done.json["ratios"]
    assert (there["a"], there["b"]) == (back["b"], back["a"]) == (Path(INT8).stem, Path(FP32).stem)
