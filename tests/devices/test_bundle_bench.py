"""What `bench --device` promises of every device, however it is reached: a bundle's too."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from cli.cli_calls import Cli, Outcome
from devices.added import MODEL, XXS, Here, N
from devices.pooled_packages import run_bundle

from edgenext import api
from edgenext.formats.artifact import Artifact, manifest_path
from edgenext.options import DataOptions, ExportOptions

PEERS = pytest.mark.peers
WAYS = ("here", "bundle", pytest.param("board", marks=PEERS), pytest.param("handset", marks=PEERS))
"""Fixtures of devices that were added; the bundle's somebody carries."""
CARRIED = "mine"
IMAGES = ("--data", "digits", "--limit", str(N))


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    pytest.importorskip("coremltools", reason="coremltools is not installed")
    out, core = tmp_path_factory.mktemp("packages"), ExportOptions(format="coreml")
    return [api.export(XXS, MODEL, core, out=out)]


@dataclass
class Place:
    """The name of a device that was added, and files that it can run."""

    cli: Cli
    name: str
    files: list[Artifact]
    here: Here | None = None
    """What is seen of it from here; nothing of a bundle's."""

    def bench(self, *options: str) -> Outcome:
        """Measure there, or write the bundle, have it run and take its results back."""
        paths = [str(f.path) for f in self.files]
        asked = ("bench", *paths, "--device", self.name, *options)
        told = self.cli.run(*asked)
        if self.here or told.code:
            return told
        (bundle,) = (self.cli.folder / "bundles").iterdir()
        run_bundle(bundle)
        return self.cli.run(*asked, "--import", str(bundle))


@pytest.fixture
def here(cli: Cli, tmp_path: Path) -> Here:
    """This machine as a device."""
    root = tmp_path / "device"
    cli.ok("devices", "add", "here", "--local", "--root", str(root))
    return Here("here", root)


@pytest.fixture(params=WAYS)
def place(
    request: pytest.FixtureRequest, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    """A device over each transport."""
    monkeypatch.chdir(tmp_path)
    if request.param == "bundle":
        cli.ok("devices", "add", CARRIED, "--bundle", "bundles")
        return Place(cli, CARRIED, request.getfixturevalue("packages"))
    added = request.getfixturevalue(request.param)
    return Place(cli, added.name, request.getfixturevalue("files"), added)


def test_accuracy_belongs_to_the_files_that_were_timed(place: Place, tmp_path: Path) -> None:
    kept = tmp_path / "result.json"
    unit = ("--unit", "cpu") if place.here else ()
    told = place.bench(*IMAGES, "--rounds", "3", *unit, "-o", str(kept))
    assert told.code == 0, told.err
    report = json.loads(kept.read_text())
    hashes = [f.manifest.sha256 for f in place.files]
    assert [r["sha256"] for r in report["results"]] == hashes
    assert [r["sha256"] for r in report["eval"]["results"]] == hashes
    here = api.evaluate([str(f.path) for f in place.files], DataOptions("digits", N))
    for there, ours in zip(report["eval"]["results"], here.results, strict=True):
        assert (there["n"], there["top1"]) == (N, ours.top1)
        assert there["loss"] == pytest.approx(ours.loss, abs=0.02)
    assert len(place.files) == 1 or report["compare"]["n"] == N
    assert all(row["valid"] or row["reasons"] for row in report["results"])
    if place.here:
        assert place.here.left() == []
        if place.here.peer:
            only_accuracy(report, told)


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
    told = place.cli.run("bench", str(path), "--device", place.name)
    assert (told.code, told.out) == (3, "") and path.name in told.err, told.err
    assert not (tmp_path / "bundles").exists()
    assert place.here is None or not any(place.here.root.rglob("jobs/*"))


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
    assert place.here is None or not any(place.here.root.rglob("jobs/*"))
