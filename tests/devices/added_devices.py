"""Devices that were added on the command line, and small files to measure on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli.cli_calls import Cli
from devices.linked_devices import ADB_ROOT, SSH_ROOT

from edgenext import api
from edgenext.devices.transports.ssh import host_key_of
from edgenext.formats.artifact import Artifact
from edgenext.options import ModelOptions, QuantizeOptions

MODEL = ModelOptions(random_weights=True, num_classes=10, size=32)
XXS = "edgenext_xx_small"
N = 6
"""Images that are scored, under emulation."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    """A float file and its INT8, small enough to be emulated."""
    out = tmp_path_factory.mktemp("files")
    options = QuantizeOptions(calib="digits", n=8)
    return [api.export(XXS, MODEL, out=out), api.quantize(XXS, options, MODEL, out=out)]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """The command line, with a file of devices of its own."""
    monkeypatch.setenv("EDGENEXT_DEVICES", str(tmp_path / "devices.json"))
    return Cli(tmp_path, capfd)


@dataclass
class AddedDevice:
    """A device that was added; `root` is the path on this machine of the folder of our files."""

    name: str
    root: Path
    peer: Any = None

    def leftovers(self) -> list[str]:
        """All our files on the device except those that are stored by their content."""
        paths = self.root.rglob("*")
        return [str(p) for p in paths if not p.is_dir() and p.parent.name != "store"]


@pytest.fixture
def board(jetson: Any, cli: Cli) -> Iterator[AddedDevice]:
    """The Jetson, added with the fingerprint of its host key."""
    _, fingerprint = host_key_of(f"root@{jetson.host}")
    address = ("--ssh", f"root@{jetson.host}", "--identity", jetson.key, "--host-key", fingerprint)
    added = cli.run("devices", "add", "orin", *address, "--python", "edge-python")
    assert added.code == 0, added.err
    assert "orin: jetson" in added.out
    yield AddedDevice("orin", Path(jetson.path(f"{jetson.home}/{SSH_ROOT}")), jetson)
    jetson.mend()
    cli.run("devices", "clean", "orin")


@pytest.fixture
def handset(phone: Any, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[AddedDevice]:
    """The phone, added by its serial number."""
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(phone.server_port))
    address = ("--adb", phone.serial, "--python", "/usr/local/bin/edge-python")
    added = cli.run("devices", "add", "pixel", *address)
    assert added.code == 0, added.err
    assert "pixel: android" in added.out
    yield AddedDevice("pixel", Path(phone.path(ADB_ROOT)), phone)
    cli.run("devices", "clean", "pixel")
