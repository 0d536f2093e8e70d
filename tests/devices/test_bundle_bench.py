"""What `bench --device` promises of every device, over a link or by bundles."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from cli.cli_calls import Cli, Outcome
from devices.added_devices import MODEL, XXS, AddedDevice, N
from devices.pooled_packages import run_bundle

from edgenext import api
from edgenext.formats.artifact import Artifact, manifest_path
from edgenext.options import DataOptions, ExportOptions

PEERS = pytest.mark.peers
DEVICES = (
    "this_machine",
    "bundle",
    pytest.param("board", marks=(PEERS, pytest.mark.campaign)),
    pytest.param("handset", marks=(PEERS, pytest.mark.campaign)),
)
"""Fixtures of devices that were added, and a device that is reached by bundles."""
BUNDLED = "mine"
IMAGES = ("--data", "digits", "--limit", str(N))


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    pytest.importorskip("coremltools", reason="coremltools is not installed")
    out, core = tmp_path_factory.mktemp("packages"), ExportOptions(format="coreml")
    return [api.export(XXS, MODEL, core, out=out)]


@dataclass
class BenchedDevice:
    """The name of a device that was added, and files that it can run."""

    cli: Cli
    name: str
    files: list[Artifact]
    added: AddedDevice | None = None
    """None for a device that is reached by bundles."""

    def bench(self, *options: str) -> Outcome:
        """Measure on the device, or write the bundle, run it and import its results."""
        paths = [str(f.path) for f in self.files]
        command = ("bench", *paths, "--device", self.name, *options)
        outcome = self.cli.run(*command)
        if self.added or outcome.code:
            return outcome
        (bundle,) = (self.cli.folder / "bundles").iterdir()
        run_bundle(bundle)
        return self.cli.run(*command, "--import", str(bundle))


@pytest.fixture
def this_machine(cli: Cli, tmp_path: Path) -> AddedDevice:
    """This machine as a device."""
    root = tmp_path / "device"
    cli.ok("devices", "add", "here", "--local", "--root", str(root))
    return AddedDevice("here", root)


@pytest.fixture(params=DEVICES)
def device(
    request: pytest.FixtureRequest, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> BenchedDevice:
    """A device over each transport."""
    monkeypatch.chdir(tmp_path)
    if request.param == "bundle":
        cli.ok("devices", "add", BUNDLED, "--bundle", "bundles")
        return BenchedDevice(cli, BUNDLED, request.getfixturevalue("packages"))
    added = request.getfixturevalue(request.param)
    return BenchedDevice(cli, added.name, request.getfixturevalue("files"), added)


def test_accuracy_belongs_to_the_files_that_were_timed(
    device: BenchedDevice, tmp_path: Path
) -> None:
    saved = tmp_path / "result.json"
    unit = ("--unit", "cpu") if device.added else ()
    outcome = device.bench(*IMAGES, "--rounds", "2", *unit, "-o", str(saved))
    assert outcome.code == 0, outcome.err
    report = json.loads(saved.read_text())
    hashes = [f.manifest.sha256 for f in device.files]
    assert [r["sha256"] for r in report["results"]] == hashes
    assert [r["sha256"] for r in report["eval"]["results"]] == hashes
    evaluated = api.evaluate([str(f.path) for f in device.files], DataOptions("digits", N))
    for measured, expected in zip(report["eval"]["results"], evaluated.results, strict=True):
        assert (measured["n"], measured["top1"]) == (N, expected.top1)
        assert measured["loss"] == pytest.approx(expected.loss, abs=0.02)
    assert len(device.files) == 1 or report["compare"]["n"] == N
    assert all(row["valid"] or row["reasons"] for row in report["results"])
    if device.added:
        assert device.added.leftovers() == []
        if device.added.peer:
            only_accuracy(report, outcome)


def only_accuracy(report: Any, outcome: Outcome) -> None:
    """Under emulation the report has accuracy, and no time on the screen or in a file."""
    device = report["device"]
    assert (device["machine"], bool(device["emulator"])) == ("aarch64", True)
    assert report["environment"]["packages"]["onnxruntime"] == onnxruntime.__version__
    assert {r["evidence"] for r in report["eval"]["results"]} == {"emulated"}
    for row in report["results"]:
        assert (row["evidence"], row["unit"], row["unit_asked"]) == ("emulated", "cpu", "cpu")
        assert row["latency_ms"] is None and row["samples_ms"] == [] and not row["valid"]
        assert row["reasons"] == [f"it ran under {device['emulator']}: its time says nothing"]
    assert "not valid" in outcome.out and " ms " not in outcome.out.split("not valid")[1]
    if device["kind"] == "jetson":
        assert device["software"]["l4t"]
    else:
        assert device["soc"].endswith("SM8650") and device["kind"] == "android"


def copied(file: Artifact, folder: Path) -> Path:
    copy = shutil.copytree if file.path.is_dir() else shutil.copy
    copy(file.path, folder / file.path.name)
    manifest = manifest_path(file.path)
    shutil.copy(manifest, folder / manifest.name)
    return folder / file.path.name


def test_a_file_that_has_changed_is_refused(device: BenchedDevice, tmp_path: Path) -> None:
    path = copied(device.files[0], tmp_path)
    inside = max(path.rglob("*"), key=lambda p: p.stat().st_size) if path.is_dir() else path
    with inside.open("ab") as f:
        f.write(b"more")
    outcome = device.cli.run("bench", str(path), "--device", device.name)
    assert (outcome.code, outcome.out) == (3, "") and path.name in outcome.err, outcome.err
    assert not (tmp_path / "bundles").exists()
    assert device.added is None or not any(device.added.root.rglob("jobs/*"))


def test_an_unsupported_request_is_refused_before_the_device_is_reached(
    device: BenchedDevice,
) -> None:
    for options, text in (
        (("--unit", "quantum"), "unknown compute unit 'quantum'"),
        (("--rounds", "0"), "rounds"),
        (("--batch", "-1"), "batch"),
        (("--data", "nowhere"), "nowhere"),
    ):
        outcome = device.bench(*options)
        assert outcome.code and text in outcome.err and outcome.out == "", outcome.err
        assert "Traceback" not in outcome.err
    assert not any(device.cli.folder.glob("bundles/*"))
    assert device.added is None or not any(device.added.root.rglob("jobs/*"))
