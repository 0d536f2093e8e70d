"""Devices: added, listed, selected; errors before a device is reached."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_calls import FP32, INT8, Cli

from edgenext import api
from edgenext.options import ExportOptions, ModelOptions


@pytest.fixture
def devices(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file of devices will be: outside of the folder that errors must leave alone."""
    path = cli.folder / "cache" / "devices.json"
    monkeypatch.setenv("EDGENEXT_DEVICES", str(path))
    return path


def add_here(cli: Cli, name: str, *options: str) -> None:
    cli.ok("devices", "add", name, "--local", *options)


def test_this_machine_is_a_device_too(
    cli: Cli, devices: Path, artifacts: Callable[..., list[Path]]
) -> None:
    files = artifacts(FP32, INT8)
    add_here(cli, "here")
    listed = cli.ok("devices", "list", "--json").json
    assert [(d["name"], d["kind"], d["local"]) for d in listed] == [("here", "linux", True)]
    assert "here" in cli.ok("devices", "list").out
    facts = cli.ok("devices", "probe", "here", "--json").json
    assert facts["software"]["onnxruntime"] and facts["emulator"] == ""

    options = ("--device", "here", "--rounds", "3", "--data", "digits", "--limit", "20")
    report = cli.ok("bench", *files, *options, "--json").json
    assert [len(r["rounds"]) for r in report["results"]] == [3, 3]
    assert {r["evidence"] for r in report["results"]} == {"host"}
    assert all(r["latency_ms"]["p50"] > 0 and r["peak_rss_mb"] > 0 for r in report["results"])
    assert len(report["ratios"]) == 2 and report["compare"]["n"] == 20
    own = cli.ok("eval", *files, "--data", "digits", "--limit", "20", "--json").json
    for there, mine in zip(report["eval"]["results"], own["results"], strict=True):
        assert (there["top1"], there["sha256"]) == (mine["top1"], mine["sha256"])
        assert there["loss"] == pytest.approx(mine["loss"], abs=1e-4)

    cli.ok("devices", "clean", "here")
    assert not (cli.folder / "cache/device").exists()
    cli.ok("devices", "remove", "here")
    assert cli.ok("devices", "list", "--json").json == []


def test_the_cpu_at_hand_scores_too(
    cli: Cli, devices: Path, artifacts: Callable[..., list[Path]]
) -> None:
    (file,) = artifacts(FP32)
    options = ("--rounds", "1", "--data", "digits", "--limit", "20", "-o", "kept.json")
    told = cli.ok("bench", file, *options)
    kept = json.loads((cli.folder / "kept.json").read_text())
    assert kept["eval"]["results"][0]["n"] == 20 and kept["compare"] is None
    assert "top-1 %" in told.out


def test_a_sustained_run_tells_its_drift(
    cli: Cli, devices: Path, artifacts: Callable[..., list[Path]]
) -> None:
    (file,) = artifacts(FP32)
    add_here(cli, "here")
    options = ("--rounds", "1", "--sustained", "0.02")
    for device in ("cpu", "here"):
        kept = ("-o", f"cache/{device}.json", "--plot", f"cache/{device}.svg")
        told = cli.ok("bench", file, "--device", device, *options, *kept)
        svg = (cli.folder / f"cache/{device}.svg").read_text()
        assert svg.lstrip().startswith("<?xml") and "minutes" in svg
        assert "minutes (" in told.out and "first and last third" in told.out
        (row,) = json.loads((cli.folder / f"cache/{device}.json").read_text())["results"]
        ends_s = row["round_ends_s"]
        assert len(ends_s) == len(row["rounds"]) > 1
        assert row["sustained"]["seconds"] == ends_s[-1] >= 1.2


def test_a_plot_is_a_picture(cli: Cli, devices: Path, artifacts: Callable[..., list[Path]]) -> None:
    (file,) = artifacts(FP32)
    error = cli.fails(2, "bench", file, "--rounds", "1", "--plot", "drift.txt")
    assert "drift.txt is not a .png or .svg file" in error


def test_a_device_is_picked_by_name_or_kind(
    cli: Cli, devices: Path, artifacts: Callable[..., list[Path]]
) -> None:
    (file,) = artifacts(FP32)
    for kind, way in (("jetson", "--ssh"), ("android", "--adb"), ("iphone", "--bundle")):
        error = cli.fails(2, "bench", file, "--device", kind)
        assert (
            f"no device of kind {kind} was added. Add one: edgenext devices add my-{kind} {way}"
            in error
        )
    add_here(cli, "orin", "--kind", "jetson")
    add_here(cli, "nano", "--kind", "jetson")
    error = cli.fails(2, "bench", file, "--device", "jetson")
    assert "2 devices are of kind jetson. Name one: orin, nano" in error
    assert "Did you mean orin?" in cli.fails(2, "bench", file, "--device", "orinn")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "no address given for x"),
        (("--local", "--adb", "1"), "--adb and --local given for x"),
        (("--local", "--kind", "jetsn"), "Did you mean jetson?"),
        (("--local", "--host-key", "SHA256:x"), "reached by --local takes no --host-key"),
        (("--bundle", "x", "--identity", "k"), "reached by --bundle takes no --identity"),
        (("--local", "--root", "here"), "--root here is not absolute"),
        (("--ssh", "-oProxyCommand=id"), "is not an address"),
        (("--ssh", "me@host:99999"), "is not an address"),
        (("--ssh", "a b@c"), "is not an address"),
        (("--bundle", "b", "--kind", "jetson"), "only an iPhone or a Mac"),
    ],
)
def test_invalid_addresses(cli: Cli, devices: Path, options: tuple[str, ...], said: str) -> None:
    assert said in cli.fails(2, "devices", "add", "x", *options)
    assert not devices.exists()


@pytest.mark.parametrize("name", ["jetson", "cpu", "a/b", "-x y", "", "x" * 65, "a;id"])
def test_names_that_are_not_allowed(cli: Cli, devices: Path, name: str) -> None:
    error = cli.fails(2, "devices", "add", "--local", "--", name)
    assert "is not allowed as a device's name" in error


def test_a_name_is_given_once(cli: Cli, devices: Path) -> None:
    add_here(cli, "here")
    error = cli.fails(2, "devices", "add", "here", "--local")
    assert "there is already a device here. Remove it first: edgenext devices remove here" in error
    assert "unknown device 'her'. Did you mean here?" in cli.fails(2, "devices", "remove", "her")
    cli.ok("devices", "remove", "here")
    assert "unknown device 'here'. Known: none" in cli.fails(2, "devices", "remove", "here")


@pytest.mark.parametrize("text", ["", "{", '{"devices": 3}', '{"devices": {"x": {"name": "x"}}}'])
def test_a_broken_file_of_devices(cli: Cli, devices: Path, text: str) -> None:
    devices.parent.mkdir(exist_ok=True)
    devices.write_text(text)
    assert "is not a file of devices" in cli.fails(3, "devices", "list")
    assert devices.read_text() == text


def test_nobody_answers(cli: Cli, devices: Path) -> None:
    error = cli.fails(10, "devices", "add", "x", "--ssh", "me@127.0.0.1:1")
    assert "ssh me@127.0.0.1:1 cannot be reached" in error


def test_options_that_a_device_does_not_have(
    cli: Cli, devices: Path, artifacts: Callable[..., list[Path]]
) -> None:
    (file,) = artifacts(FP32)
    add_here(cli, "here")
    error = cli.fails(2, "bench", file, "--device", "here", "--lock-clocks")
    assert "here has no jetson_clocks" in error
    assert "unknown compute unit 'gpuu'" in cli.fails(
        2, "bench", file, "--device", "here", "--unit", "gpuu"
    )


def test_a_python_without_runtimes(
    cli: Cli, devices: Path, artifacts: Callable[..., list[Path]]
) -> None:
    (file,) = artifacts(FP32)
    cli.ok("devices", "add", "bare", "--local", "--python", "/usr/bin/nothing-like-python")
    error = cli.fails(10, "bench", file, "--device", "bare", "--rounds", "1")
    assert "bare has no Python at /usr/bin/nothing-like-python" in error


def test_a_bundle_is_written_for_what_has_no_link(
    cli: Cli, devices: Path, artifacts: Callable[..., list[Path]]
) -> None:
    (file,) = artifacts(FP32)
    cli.ok("devices", "add", "mine", "--bundle", "cache/bundles")
    error = cli.fails(2, "bench", file, "--device", "iphone")
    assert "is measured with Core ML" in error and "--format coreml" in error
    pytest.importorskip("coremltools", reason="no coremltools (pip install 'edgenext[coreml]')")
    model = ModelOptions(random_weights=True, num_classes=10, size=32)
    how = ExportOptions(format="coreml")
    package = api.export("edgenext_xx_small", model, how, out=cli.folder).path
    told = cli.ok("bench", package, "--device", "iphone", "--data", "digits", "--limit", "20")
    folder = Path(told.out.strip())
    names = {path.name for path in folder.iterdir()}
    assert names >= {"README.txt", "job.json", "images.u8", "runner", package.name}
    assert "Carry it to the device" in told.err
    error = cli.fails(10, "bench", package, "--import", folder)
    assert "no results.jsonl" in error
