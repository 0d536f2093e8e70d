"""What `bench --device` promises of every device, however it is reached: a bundle's too."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from cli.cli_calls import Cli, Outcome
from devices.pooled_packages import run_bundle

from edgenext import api
from edgenext.artifact import Artifact, manifest_path
from edgenext.devices.transports.ssh import host_key_of
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions

XXS = "edgenext_xx_small"
MODEL = ModelOptions(random_weights=True, num_classes=10, size=32)
N = 6
PEERS = pytest.mark.peers
WAYS = ("local", "bundle", pytest.param("ssh", marks=PEERS), pytest.param("adb", marks=PEERS))
IMAGES = ("--data", "digits", "--limit", str(N))


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    out = tmp_path_factory.mktemp("onnx")
    how = QuantizeOptions(calib="digits", n=8)
    return [api.export(XXS, MODEL, out=out), api.quantize(XXS, how, MODEL, out=out)]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    pytest.importorskip("coremltools", reason="coremltools is not installed")
    out, core = tmp_path_factory.mktemp("packages"), ExportOptions(file_format="coreml")
    return [api.export(XXS, MODEL, core, out=out)]


@dataclass
class Place:
    """A device that was added, and files that it can run."""

    cli: Cli
    name: str
    files: list[Artifact]
    root: Path | None = None
    """Our files' folder there, as this machine sees it; a bundle leaves none but itself."""
    peer: Any = None
    """The emulated device, if it is one."""

    def bench(self, *options: str) -> Outcome:
        """Measure there, or write the bundle, have it run and take its results back."""
        paths = [str(f.path) for f in self.files]
        on = ("--device", self.name)
        told = self.cli.run("bench", *paths, *on, *options)
        if self.root or told.code:
            return told
        (bundle,) = (self.cli.folder / "bundles").iterdir()
        run_bundle(bundle)
        return self.cli.run("bench", *paths, *on, *options, "--import", str(bundle))


@pytest.fixture(params=WAYS)
def place(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Place]:
    """A device over each transport."""
    monkeypatch.setenv("EDGENEXT_DEVICES", str(tmp_path / "devices.json"))
    monkeypatch.chdir(tmp_path)
    cli = Cli(tmp_path, capfd)
    add = partial(cli.ok, "devices", "add", "it")
    if request.param == "bundle":
        add("--bundle", "bundles")
        yield Place(cli, "it", request.getfixturevalue("packages"))
        return
    files = request.getfixturevalue("onnx")
    peer: Any = None
    if request.param == "local":
        root = tmp_path / "device"
        add("--local", "--root", str(root), "--python", sys.executable)
    elif request.param == "ssh":
        peer = request.getfixturevalue("jetson")
        address = f"root@{peer.host}"
        key = ("--identity", str(peer.key), "--host-key", host_key_of(address)[1])
        add("--ssh", address, *key, "--python", "edge-python")
        root = Path(peer.path("/root/.cache/edgenext-device"))
    else:
        peer = request.getfixturevalue("phone")
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(peer.server_port))
        add("--adb", peer.serial, "--python", "/usr/local/bin/edge-python")
        root = Path(peer.path("/data/local/tmp/edgenext"))
    yield Place(cli, "it", files, root, peer)
    cli.run("devices", "clean", "it")


def test_accuracy_belongs_to_the_files_that_were_timed(place: Place, tmp_path: Path) -> None:
    kept = tmp_path / "result.json"
    unit = () if place.root is None else ("--unit", "cpu")
    told = place.bench(*IMAGES, "--rounds", "3", *unit, "-o", str(kept))
    assert told.code == 0, told.err
    report = json.loads(kept.read_text())
    hashes = [f.manifest.sha256 for f in place.files]
    assert [r["sha256"] for r in report["results"]] == hashes
    assert [r["sha256"] for r in report["eval"]["results"]] == hashes
    here = api.evaluate([str(f.path) for f in place.files], "digits", limit=N)
    for there, ours in zip(report["eval"]["results"], here.results, strict=True):
        assert (there["n"], there["top1"]) == (N, ours.top1)
        assert there["loss"] == pytest.approx(ours.loss, abs=0.02)
    assert len(place.files) == 1 or report["compare"]["n"] == N
    assert all(row["valid"] or row["reasons"] for row in report["results"])
    if place.peer:
        only_accuracy(report, told)
    if place.root:
        left = [p for p in place.root.rglob("*") if not p.is_dir() and p.parent.name != "store"]
        assert left == []


def only_accuracy(report: Any, told: Outcome) -> None:
    """Under an emulator that is what it was, and no time is told, on any screen or in any file."""
    device = report["device"]
    assert (device["machine"], bool(device["emulator"])) == ("aarch64", True)
    assert report["environment"]["packages"]["onnxruntime"] == onnxruntime.__version__
    assert {r["evidence"] for r in report["eval"]["results"]} == {"emulated"}
    for row in report["results"]:
        assert (row["evidence"], row["unit"], row["unit_asked"]) == ("emulated", "cpu", "cpu")
        assert row["latency_ms"] is None and row["samples_ms"] == [] and not row["valid"]
        assert row["reasons"] == [f"it ran under {device['emulator']}: its time says nothing"]
    assert "not valid" in told.out and " ms " not in told.out.split("not valid")[1]
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


def test_a_file_that_has_changed_is_refused(place: Place, tmp_path: Path) -> None:
    path = copied(place.files[0], tmp_path)
    inside = max(path.rglob("*"), key=lambda p: p.stat().st_size) if path.is_dir() else path
    with inside.open("ab") as f:
        f.write(b"more")
    told = place.cli.run("bench", str(path), "--device", "it")
    assert (told.code, told.out) == (3, "") and path.name in told.err, told.err
    assert not (tmp_path / "bundles").exists()
    assert place.root is None or not any(place.root.rglob("jobs/*"))


def test_what_cannot_be_asked_is_refused_before_the_device_is(place: Place) -> None:
    for options, says in (
        (("--unit", "quantum"), "unknown compute unit 'quantum'"),
        (("--rounds", "0"), "rounds"),
        (("--batch", "-1"), "batch"),
        (("--data", "nowhere"), "nowhere"),
    ):
        told = place.bench(*options)
        assert told.code and says in told.err and told.out == "", told.err
        assert "Traceback" not in told.err
    assert not any(place.cli.folder.glob("bundles/*"))
    assert place.root is None or not any(place.root.rglob("jobs/*"))
