"""Devices that were added on the command line, and small files to measure on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli.cli_calls import Cli
from devices.ways import ADB_ROOT, SSH_ROOT

from edgenext import api
from edgenext.devices.transports.ssh import host_key_of
from edgenext.formats.artifact import Artifact
from edgenext.options import ModelOptions, QuantizeOptions

MODEL = ModelOptions(random_weights=True, num_classes=10, size=32)
XXS = "edgenext_xx_small"
N = 6
"""Images that are scored: each is emulated."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    """A float file and its INT8, small enough to be emulated."""
    out = tmp_path_factory.mktemp("files")
    how = QuantizeOptions(calib="digits", n=8)
    return [api.export(XXS, MODEL, out=out), api.quantize(XXS, how, MODEL, out=out)]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """The command line, with a file of devices of its own."""
    monkeypatch.setenv("EDGENEXT_DEVICES", str(tmp_path / "devices.json"))
    return Cli(tmp_path, capfd)


@dataclass
class Here:
    """A device that was added, and the folder of our files on it as this machine sees it."""

    name: str
    root: Path
    peer: Any = None

    def left(self) -> list[str]:
        """Every file of ours there but those that are kept by their content."""
        found = self.root.rglob("*")
        return [str(p) for p in found if not p.is_dir() and p.parent.name != "store"]


@pytest.fixture
def board(jetson: Any, cli: Cli) -> Iterator[Here]:
    """The Jetson, added by its host key's fingerprint."""
    _, fingerprint = host_key_of(f"root@{jetson.host}")
    way = ("--ssh", f"root@{jetson.host}", "--identity", jetson.key, "--host-key", fingerprint)
    added = cli.run("devices", "add", "orin", *way, "--python", "edge-python")
    assert added.code == 0, added.err
    assert "orin: jetson" in added.out
    yield Here("orin", Path(jetson.path(f"{jetson.home}/{SSH_ROOT}")), jetson)
    jetson.mend()
    cli.run("devices", "clean", "orin")


@pytest.fixture
def handset(phone: Any, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    """The phone, by its serial number."""
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(phone.server_port))
    way = ("--adb", phone.serial, "--python", "/usr/local/bin/edge-python")
    added = cli.run("devices", "add", "pixel", *way)
    assert added.code == 0, added.err
    assert "pixel: android" in added.out
    yield Here("pixel", Path(phone.path(ADB_ROOT)), phone)
    cli.run("devices", "clean", "pixel")
