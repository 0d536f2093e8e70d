"""From a model to numbers: every way to export it, then quantize, evaluate and measure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from cli_calls import FEATURES, FP32, INT8, MODEL, NAME, PLAIN, Cli
from numpy.typing import NDArray

Artifacts = Callable[..., list[Path]]

VARIANTS = {
    "plain": (["--no-fold"], PLAIN),
    "pixels, any batch": (
        ["--uint8-input", "--batch", "dynamic"],
        f"{NAME}-batch-dynamic-uint8-fp32.onnx",
    ),
    "any batch": (["--batch", "dynamic"], f"{NAME}-batch-dynamic-fp32.onnx"),
    "opset 17, batch 4": (["--opset", "17", "--batch", "4"], f"{NAME}-batch4-opset17-fp32.onnx"),
}


def logits(path: Path, values: NDArray[Any]) -> list[NDArray[np.float32]]:
    """Run a file with nothing of ours between it and the runtime."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs: list[NDArray[np.float32]] = session.run(None, {session.get_inputs()[0].name: values})
    return outputs


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_export_scores_what_the_model_does(cli: Cli, variant: str) -> None:
    options, name = VARIANTS[variant]
    cli.ok("export", *MODEL, *options)
    assert sorted(p.name for p in Path().iterdir()) == [name, f"{name}.json"]
    evaluated = cli.ok("eval", name, "edgenext_xx_small", *MODEL[1:], "--data", "digits", "--json")
    file, model = evaluated.json["results"]
    assert (file["runtime"], model["runtime"]) == ("onnxruntime", "torch")
    assert (file["top1"], file["top5"], file["n"]) == (model["top1"], model["top5"], 602)
    assert file["loss"] == pytest.approx(model["loss"], abs=1e-5)

    manifest = json.loads(Path(f"{name}.json").read_text())
    pixels = "--uint8-input" in options
    batch = options[options.index("--batch") + 1] if "--batch" in options else "1"
    rows = -1 if batch == "dynamic" else int(batch)
    assert manifest["input"]["dtype"] == ("uint8" if pixels else "float32")
    shape = [rows, 32, 32, 3] if pixels else [rows, 3, 32, 32]
    assert manifest["input"]["shape"] == shape
    opset = int(options[options.index("--opset") + 1]) if "--opset" in options else 20
    graph = onnx.load(name)
    assert {o.domain: o.version for o in graph.opset_import}[""] == manifest["opset"] == opset
    images = np.zeros([3 if rows < 0 else rows, *shape[1:]], manifest["input"]["dtype"])
    assert logits(Path(name), images)[0].shape == (len(images), 10)


def test_a_backbone_gives_four_stages(artifacts: Artifacts) -> None:
    (path,) = artifacts(FEATURES)
    outputs = logits(path, np.zeros((1, 3, 32, 32), np.float32))
    assert [o.shape for o in outputs] == [
        (1, 24, 8, 8), (1, 48, 4, 4), (1, 88, 2, 2), (1, 168, 1, 1),
    ]  # fmt: skip
    names = [o["name"] for o in json.loads(Path(f"{path}.json").read_text())["outputs"]]
    assert names == ["stage1", "stage2", "stage3", "stage4"]


def test_a_model_and_its_artifact_quantize_to_the_same_file(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    how = ("--calib", "digits", "-n", "16", "--json")
    of_model = cli.ok("quantize", *MODEL, *how, "-o", "model").json
    of_file = cli.ok("quantize", path, *how, "-o", "file").json
    assert of_model["sha256"] == of_file["sha256"]
    assert Path(of_model["artifact"]).name == Path(of_file["artifact"]).name == INT8
    again = cli.ok("quantize", path, *how, "--seed", "1", "-o", "other").json
    assert again["sha256"] != of_file["sha256"]
    # a file's input was decided when it was exported; its name says so
    for option, text in (("--uint8-input", "takes no pixels"), ("--batch=4", "a batch of 1")):
        assert text in cli.fails(2, "quantize", path, option, *how)
    cli.ok("export", *MODEL, "--uint8-input")
    pixels = cli.ok("quantize", f"{NAME}-uint8-fp32.onnx", "--uint8-input", *how).json
    assert pixels["artifact"] == f"{NAME}-uint8-w8a8-static.onnx"


def test_int8_takes_pixels_and_batches(cli: Cli) -> None:
    options = ("--uint8-input", "--batch", "4")
    cli.ok("quantize", *MODEL, *options, "--calib", "digits", "-n", "16")
    name = f"{NAME}-batch4-uint8-w8a8-static.onnx"
    report = cli.ok("compare", "edgenext_xx_small", name, *MODEL[1:], "--data", "digits", "--json")
    (row,) = report.json["others"]
    assert row["sqnr_db"] > 15


def test_bench_of_a_quiet_or_busy_machine_says_which(cli: Cli, artifacts: Artifacts) -> None:
    done = cli.ok("bench", *artifacts(PLAIN, INT8), "--rounds", "30", "--json")
    for row in done.json["results"]:
        assert row["valid"] == (not row["reasons"])
        assert not any("too few" in reason for reason in row["reasons"])
        assert 0 < row["latency_ms"]["min"] <= row["latency_ms"]["p50"] < 1000
        assert row["n"] >= 30
    for ratio in done.json["ratios"]:
        assert ratio["ci95"][0] <= ratio["median"] <= ratio["ci95"][1]


def test_tables_for_people(cli: Cli, artifacts: Artifacts) -> None:
    files = artifacts(FP32, INT8)
    names = [Path(f).stem for f in files]
    evaluated = cli.ok("eval", *files, "--data", "digits", "--limit", "40").out
    assert [line.split()[0] for line in evaluated.splitlines()[1:3]] == names
    assert "a stratified subset of 40 of 602 images, seed 0" in evaluated
    compared = cli.ok("compare", *files, "--data", "digits").out
    assert compared.startswith("602 images, drops in points\n")
    assert names[1] in compared
    measured = cli.ok("bench", *files, "--rounds", "2").out
    assert "not valid: " in measured
    assert f"x as fast as {names[0]}" in measured
    assert len(cli.ok("models").out.splitlines()) == 12  # a title, ten models and a note


def test_a_twin_computes_what_the_model_does(cli: Cli, weights: Path) -> None:
    made = cli.ok("stress", "--weights", weights, "--seed", "1").out
    assert made == "twin.safetensors\n"
    how = ("--data", "digits", "--size", "32", "--json")
    scores = [
        cli.ok("eval", "edgenext_xx_small", "--weights", file, *how).json["results"][0]
        for file in (weights, "twin.safetensors")
    ]
    assert scores[0]["top1"] == scores[1]["top1"]
    assert scores[0]["loss"] == pytest.approx(scores[1]["loss"], abs=1e-4)
    assert scores[0]["artifact"] == "ten"
