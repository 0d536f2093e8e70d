"""Files measured in a real browser and in Node, and everything that may break there."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli.cli_calls import Cli, Process
from devices.javascript.browsers import browser_with, chromium, node, own_processes
from private import private_python

from edgenext import api
from edgenext.commands.context import Context
from edgenext.devices.javascript import web
from edgenext.devices.javascript.bench import bench_javascript
from edgenext.devices.javascript.server import RunnerServer
from edgenext.errors import UsageError
from edgenext.formats.artifact import Artifact
from edgenext.options import DataOptions, ExportOptions, ModelOptions
from edgenext.schema import Device, DeviceKind

IMAGES = ("--data", "digits", "--limit", "20")
SIMD_OFF = "--js-flags=--no-enable-ssse3 --no-enable-sse4-1 --no-enable-avx"
"""V8 without the instructions that it needs for SIMD in WebAssembly."""


@pytest.fixture(params=["web", "node"])
def device(request: pytest.FixtureRequest, cli: Cli) -> str:
    """A browser or Node, added under the name of its kind."""
    if request.param == "web":
        chromium()
        cli.ok("devices", "add", "web", "--browser", "chromium")
    else:
        node()
        cli.ok("devices", "add", "node", "--node", "node")
    return str(request.param)


@pytest.fixture
def browser(cli: Cli) -> str:
    """The browser, added."""
    chromium()
    cli.ok("devices", "add", "web", "--browser", "chromium")
    return "web"


def paths(files: list[Artifact]) -> list[str]:
    return [str(file.path) for file in files]


@pytest.mark.parametrize("kind", ["web", "node"])
def test_files_that_prepare_images_differently_are_not_scored_together(
    make_artifact: Callable[..., Artifact], kind: DeviceKind
) -> None:
    a, b = make_artifact("a"), make_artifact("b")
    other = b.manifest.eval.model_copy(update={"mean": (0.0, 0.0, 0.0)})
    odd = replace(b, manifest=b.manifest.model_copy(update={"eval": other}))
    data = DataOptions("digits", limit=4)
    images = Context().images(data, a.manifest.eval, "val", num_classes=a.manifest.num_classes)
    device = Device(name=kind, kind=kind)
    with pytest.raises(UsageError, match="prepare images in different ways"):
        bench_javascript(device, [a, odd], images)


def measured(cli: Cli, *arguments: object) -> Any:
    """The report of a benchmark that must succeed and leave no process."""
    report = cli.ok("bench", *arguments, "--json").json
    assert own_processes() == []
    return report


def test_latency_and_accuracy_are_of_the_same_files(
    device: str, cli: Cli, tiny_files: list[Artifact]
) -> None:
    names = paths(tiny_files)
    report = measured(cli, *names, "--device", device, *IMAGES, "--rounds", "3", "--threads", "2")
    hashes = [file.manifest.sha256 for file in tiny_files]
    assert [row["sha256"] for row in report["results"]] == hashes
    assert [row["sha256"] for row in report["eval"]["results"]] == hashes
    expected = api.evaluate(names, DataOptions("digits", 20)).results
    for row, reference in zip(report["eval"]["results"], expected, strict=True):
        assert (row["n"], row["top1"]) == (20, reference.top1)
        # the same float32 sums in another order; measured: 1e-7
        assert row["loss"] == pytest.approx(reference.loss, rel=1e-5)
    for row in report["results"]:
        assert (row["evidence"], row["threads"], len(row["rounds"])) == ("device", 2, 3)
        assert row["latency_ms"]["p50"] > 0 and row["load_ms"] > 0 and row["warmup"] >= 10
        assert row["valid"] or row["reasons"]
        assert not any("one thread" in reason for reason in row["reasons"])
    assert report["noise"]["artifact"] == report["results"][0]["artifact"]
    assert report["compare"]["n"] == 20
    facts, packages = report["device"], report["environment"]["packages"]
    assert facts["kind"] == device
    if device == "web":
        assert facts["isa"] == ["wasm", "simd128", "relaxed_simd", "threads"]
        assert facts["model"].startswith("Chrom") and packages["onnxruntime-web"] == "1.30.0"
        assert {row["runtime"] for row in report["results"]} == {"onnxruntime-web"}
        assert {row["unit"] for row in report["results"]} == {"wasm"}
    else:
        assert facts["model"].startswith("Node ") and packages["onnxruntime-node"] == "1.30.0"
        assert {row["runtime"] for row in report["results"]} == {"onnxruntime-node"}
        assert all(
            len(row["affinity"]) == 2 and row["peak_rss_mb"] > 0 for row in report["results"]
        )


@pytest.mark.slow
def test_tflite_files_run_in_litert(browser: str, cli: Cli, tmp_path: Path) -> None:
    private_python("tflite")
    options = ModelOptions(random_weights=True, num_classes=10, size=32)
    file = api.export("edgenext_xx_small", options, ExportOptions(format="tflite"), out=tmp_path)
    for threads in (1, 2):
        report = measured(
            *(cli, file.path, "--device", browser, *IMAGES, "--rounds", "1", "--threads", threads)
        )
        (row,), (scores,) = report["results"], report["eval"]["results"]
        assert row["runtime"] == "litert.js"
        reference = api.evaluate([file.path], DataOptions("digits", 20)).results[0]
        # XNNPACK in WebAssembly sums in another order; measured: 2e-7
        assert scores["loss"] == pytest.approx(reference.loss, rel=1e-5)


def test_what_no_engine_runs_is_refused_before_anything_starts(
    cli: Cli, tiny_files: list[Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # neither a browser nor packages are needed to say so
    monkeypatch.setenv("EDGENEXT_ENVIRONMENTS", str(tmp_path / "none"))
    cli.ok("devices", "add", "page", "--serve")
    file = tiny_files[0].path
    for change, words in (
        (
            {"format": "tflite", "input": {"name": "i", "shape": [1, 32, 32, 3], "dtype": "int8"}},
            "int8",
        ),
        ({"format": "openvino"}, "openvino has no engine"),
    ):
        changed = tmp_path / "changed.onnx"
        shutil.copy(file, changed)
        manifest = json.loads(file.with_name(f"{file.name}.json").read_text())
        manifest |= change | {"file": changed.name, "manifest_sha256": ""}
        changed.with_name(f"{changed.name}.json").write_text(json.dumps(manifest))
        assert words in cli.fails(3, "bench", changed, "--device", "page")
    for option in (("--unit", "npu"), ("--lock-clocks",), ("--delegate", "x")):
        assert "a browser " in cli.fails(2, "bench", file, "--device", "page", *option)
    assert "edgenext env web" in cli.fails(8, "bench", file, "--device", "page")


def test_no_browser(cli: Cli, tiny_files: list[Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    chromium()
    cli.ok("devices", "add", "web", "--browser", "chromium")
    monkeypatch.setenv("EDGENEXT_CHROMIUM", "no-such-browser")
    command = ("bench", tiny_files[0].path, "--device", "web")
    assert "there is no browser no-such-browser" in cli.fails(10, *command)
    assert "no-such" in cli.fails(10, "devices", "add", "other", "--browser", "no-such")
    assert "--serve" in cli.fails(2, "devices", "add", "other", "--browser", "/usr/bin/firefox")
    assert "cannot be started" in cli.fails(10, "devices", "add", "other", "--browser", "true")
    assert own_processes() == []


def test_a_page_that_crashes(
    browser: str, cli: Cli, tiny_files: list[Artifact], tmp_path: Path
) -> None:
    command = ("bench", *paths(tiny_files), "--device", browser, "--rounds", "2000")
    process = Process(tmp_path, command)
    try:
        process.until(lambda: busy_pages(process), "work in a page")
        for page in busy_pages(process):
            page.kill()
        outcome = process.end()
    finally:
        process.kill()
    assert outcome.code == 10 and "Traceback" not in outcome.err
    assert outcome.err.splitlines()[-1].startswith("edgenext: the page crashed in the browser. ")
    assert own_processes() == []


def busy_pages(process: Process) -> list[psutil.Process]:
    """The browser's processes whose pages have computed for a second."""
    pages = []
    for child in process.children():
        with suppress(psutil.NoSuchProcess):
            if "--type=renderer" in child.cmdline() and child.cpu_times().user > 1:
                pages.append(child)
    return pages


@pytest.mark.parametrize("end", ["Ctrl-C", "kill"])
def test_nothing_is_left_of_a_run_that_is_ended(
    device: str, cli: Cli, tiny_files: list[Artifact], tmp_path: Path, end: str
) -> None:
    command = ("bench", *paths(tiny_files), "--device", device, "--rounds", "2000")
    process = Process(tmp_path, command)
    try:
        process.until(lambda: len(process.children()) > 3, "its processes")
        children = process.children()
        if end == "kill":
            psutil.Process(process.pid).kill()
        else:
            process.ctrl_c()
        outcome = process.end()
    finally:
        process.kill()
    assert outcome.code == (-9 if end == "kill" else 130), outcome.err
    _, alive = psutil.wait_procs(children, 20)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


def test_a_browser_without_simd(cli: Cli, tiny_files: list[Artifact], tmp_path: Path) -> None:
    program = browser_with(tmp_path, SIMD_OFF)
    cli.ok("devices", "add", "old", "--browser", program)
    error = cli.fails(10, "bench", tiny_files[0].path, "--device", "old")
    assert "no WebAssembly SIMD" in error
    assert own_processes() == []


def test_a_page_that_is_not_isolated_has_one_thread(
    browser: str, cli: Cli, tiny_files: list[Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "RunnerServer", partial(RunnerServer, headers={}))
    command = (tiny_files[0].path, "--device", browser, "--rounds", "1", "--threads", "2")
    report = measured(cli, *command)
    (row,) = report["results"]
    assert not row["valid"]
    assert any("one thread, because the page is not cross-origin" in r for r in row["reasons"])
    assert "threads" not in report["device"]["isa"]
    assert any("not cross-origin isolated: one thread" in n for n in report["device"]["notes"])


def test_a_gpu_that_is_not_there(browser: str, cli: Cli, tiny_files: list[Artifact]) -> None:
    command = ("bench", tiny_files[0].path, "--device", browser, "--unit", "gpu", "--rounds", "1")
    outcome = cli.run(*command)
    if outcome.code == 0:
        pytest.skip("this machine has a GPU")
    assert outcome.code == 10 and "no WebGPU adapter" in outcome.err
    assert own_processes() == []


def test_a_port_that_is_in_use(cli: Cli, tiny_files: list[Artifact]) -> None:
    chromium()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        cli.ok("devices", "add", "page", "--serve", "--port", port)
        error = cli.fails(10, "bench", tiny_files[0].path, "--device", "page")
    assert f"cannot serve at 127.0.0.1:{port}" in error and "--port" in error
