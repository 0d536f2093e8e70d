"""`--target auto`: the files of every runtime of this CPU, and the fastest of them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cli_calls import CONFIG, MODEL, NAME, Cli
from private import private_python

from edgenext.benchmark.advice import BF16
from edgenext.benchmark.environment import environment
from edgenext.formats.artifact import open_artifact
from edgenext.targets.target import TARGETS

ONNX = ("cpu-onnxruntime", "cpu-openvino")
"""Targets whose files need no converter."""


@pytest.fixture
def onnx_alone(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the targets whose conversions take a minute: tflite is not installed."""
    monkeypatch.setenv("EDGENEXT_ENVIRONMENTS", str(cli.folder / "none"))
    for name, target in TARGETS.items():
        if target.auto and name not in (*ONNX, "tflite"):
            monkeypatch.setitem(TARGETS, name, replace(target, auto=False))


@pytest.mark.usefixtures("onnx_alone")
def test_a_run_makes_the_files_of_every_runtime(cli: Cli) -> None:
    pytest.importorskip("openvino", reason="no openvino (pip install 'edgenext[openvino]')")
    Path("demo.toml").write_text(CONFIG.format(n=16))
    result = cli.ok("run", "demo.toml", "--target", "auto")
    out = result.out
    assert "left out: tflite. " in result.err and "edgenext env tflite" in result.err
    summary = json.loads(Path("demo/run.json").read_text())
    made = [(a["target"], a["scheme"], a["form"]) for a in summary["artifacts"]]
    has_bf16 = not BF16.isdisjoint(environment().isa)
    assert made == [
        ("cpu-onnxruntime", "fp32", "naive"),
        ("cpu-onnxruntime", "fp32", "convT"),
        ("cpu-openvino", "fp32", "convC"),
        ("cpu-onnxruntime", "w8a8-static", "convT"),
        ("cpu-openvino", "w8a8-static", "convC"),
        *([("cpu-openvino", "bf16", "convC")] if has_bf16 else []),
    ]
    names = [Path(a["artifact"]).stem for a in summary["artifacts"]]
    assert len(set(names)) == len(names)
    assert [r["artifact"] for r in summary["bench"]["results"]] == names
    runtimes = {r["artifact"]: r["runtime"].split()[0] for r in summary["bench"]["results"]}
    for artifact, name in zip(summary["artifacts"], names, strict=True):
        assert runtimes[name].lower() in artifact["target"], name

    verdict = json.loads(Path("demo/report.json").read_text())["verdict"]
    floats = {
        n for n, a in zip(names, summary["artifacts"], strict=True) if "a8" not in a["scheme"]
    }
    assert verdict["rival"] in {*floats, None} and verdict["artifact"] not in floats
    valid = any(r["valid"] for r in summary["bench"]["ratios"])
    lines = [line for line in out.splitlines() if "the fastest by target" in line]
    assert len(lines) == int(valid) == len(verdict["lines"]) - 4
    assert cli.ok("run", "demo.toml", "--target", "auto").err.count("unchanged") >= len(names)

    cli.ok("devices", "add", "box", "--local")
    again = cli.ok("run", "demo.toml", "--target", "auto", "--device", "box")
    done = [line for line in again.err.splitlines() if not line.endswith("unchanged")]
    assert "benchmark" in done and "evaluate" not in done
    bench = json.loads(Path("demo/bench.json").read_text())
    assert [(r["artifact"], r["device"]) for r in bench["results"]] == [(n, "box") for n in names]
    assert {r["artifact"]: r["runtime"] for r in bench["results"]} == {
        name: runtime.lower() for name, runtime in runtimes.items()
    }
    assert "**Speed (box, " in Path("demo/report.md").read_text()
    halves = [r for r in bench["results"] if r["precision"] == "bf16"]
    assert len(halves) == has_bf16 and not any(r["precision_emulated"] for r in halves)


@pytest.mark.parametrize(
    ("device", "target", "error"),
    [
        ("nothere", "auto", "unknown device 'nothere'"),
        ("box", "jetson", "box is of kind linux, and files for jetson are timed on jetson"),
        ("box", "ethos-u", "no device times files for an Ethos-U NPU"),
        ("box", "executorch", "box cannot run files for executorch"),
        ("old", "auto", "old cannot run the plain ONNX export"),
        ("phone", "coreml", "phone is measured by a bundle"),
    ],
)
def test_a_device_that_cannot_time_the_files_is_refused(
    cli: Cli, device: str, target: str, error: str
) -> None:
    if sys.platform == "darwin" and device == "phone":
        pytest.skip("a Mac runs its own bundles")
    Path("demo.toml").write_text(CONFIG.format(n=16))
    cli.ok("devices", "add", "box", "--local")
    cli.ok("devices", "add", "old", "--local", "--python", "/bin/true")
    cli.ok("devices", "add", "phone", "--bundle", "bundles")
    line = cli.fails(2, "run", "demo.toml", "--target", target, "--device", device)
    assert error in line


@pytest.mark.parametrize("command", ["export", "quantize"])
@pytest.mark.usefixtures("onnx_alone")
def test_the_fastest_file_is_kept(cli: Cli, command: str) -> None:
    calib = ("--calib", "digits", "-n", "16") if command == "quantize" else ()
    options = ("--target", "auto", "-o", "kept", *(("--json",) if calib else ()))
    result = cli.ok(command, *MODEL, *calib, *options)
    chosen = next(p for p in Path("kept").iterdir() if p.suffix == ".onnx")
    assert sorted(p.name for p in Path("kept").iterdir()) == [chosen.name, f"{chosen.name}.json"]
    if not calib:
        assert "left out: tflite" in result.err and "edgenext env tflite" in result.err
        assert f"kept/{chosen.name}" in result.out and "tflite" not in result.out
        return
    report = result.json
    assert report["missing"].keys() == {"tflite"}
    assert open_artifact(chosen).manifest.sha256 == report["chosen"]["sha256"]
    rows = report["files"]
    assert [row["target"] for row in rows] == list(ONNX)
    faster = [row for row in rows[1:] if row["valid"] and row["speed_ci95"][0] > 1]
    assert report["chosen"]["target"] == (faster or rows)[0]["target"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "tflite"), "--target auto chooses --format itself"),
        (("--no-fold",), "--target auto chooses --no-fold itself"),
        (("--tune",), "--target auto chooses --tune itself"),
        (("--scheme", "w4-palettized", "--calib", "digits"), "runs w4-palettized"),
        (
            (
                "--scheme",
                "w9",
            ),
            "w9",
        ),
    ],
)
def test_what_follows_from_the_target_is_refused(
    cli: Cli, options: tuple[str, ...], message: str
) -> None:
    assert message in cli.fails(2, "export", *MODEL, "--target", "auto", *options)
    assert not list(cli.folder.glob(f"{NAME}*"))


def test_a_recipe_is_for_one_target(cli: Cli) -> None:
    Path("recipe.toml").write_text("")
    message = cli.fails(
        2, "quantize", *MODEL, "--calib", "digits", "--target", "auto", "--recipe", "recipe.toml"
    )
    assert "a recipe is for one target" in message


@pytest.mark.campaign
def test_a_run_for_all_runtimes_of_this_cpu(cli: Cli) -> None:
    private_python("tflite")
    Path("demo.toml").write_text(CONFIG.format(n=16))
    cli.ok("run", "demo.toml", "--target", "auto", "--threads", "2")
    summary = json.loads(Path("demo/run.json").read_text())
    assert {a["target"] for a in summary["artifacts"]} >= {*ONNX, "tflite"}
    assert {r["threads"] for r in summary["bench"]["results"]} == {2}
