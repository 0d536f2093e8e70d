"""Devices that were added on the command line, and small files to measure on them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli.cli_calls import Cli, call
from devices.linked_devices import ADB_ROOT, SSH_ROOT

from edgenext import api
from edgenext.devices.registry import known_devices
from edgenext.devices.transports.ssh import host_key_of
from edgenext.formats.artifact import Artifact
from edgenext.options import ModelOptions, QuantizeOptions

MODEL = ModelOptions(random_weights=True, num_classes=10, size=32)
XXS = "edgenext_xx_small"
N = 3
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


def added(folder: Path, name: str, kind: str, *address: object) -> Path:
    """The file of devices after `edgenext devices add`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGENEXT_DEVICES", str(folder / "devices.json"))
        assert call("devices", "add", name, *address) == 0
        assert known_devices()[name].kind == kind
    return folder / "devices.json"


@pytest.fixture(scope="module")
def board_file(jetson: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of devices: the Jetson, added with the fingerprint of its host key."""
    _, fingerprint = host_key_of(f"root@{jetson.host}")
    address = ("--ssh", f"root@{jetson.host}", "--identity", jetson.key, "--host-key", fingerprint)
    folder = tmp_path_factory.mktemp("board")
    return added(folder, "orin", "jetson", *address, "--python", "edge-python")


@pytest.fixture(scope="module")
def handset_file(phone: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of devices: the phone, added by its serial number."""
    address = ("--adb", phone.serial, "--python", "/usr/local/bin/edge-python")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(phone.server_port))
        return added(tmp_path_factory.mktemp("handset"), "pixel", "android", *address)


@pytest.fixture
def board(jetson: Any, board_file: Path, cli: Cli) -> Iterator[AddedDevice]:
    """The Jetson, added."""
    shutil.copy(board_file, os.environ["EDGENEXT_DEVICES"])
    root = Path(jetson.path(f"{jetson.home}/{SSH_ROOT}"))
    yield AddedDevice("orin", root, jetson)
    jetson.mend()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def handset(
    phone: Any, handset_file: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AddedDevice]:
    """The phone, added."""
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(phone.server_port))
    shutil.copy(handset_file, os.environ["EDGENEXT_DEVICES"])
    root = Path(phone.path(ADB_ROOT))
    yield AddedDevice("pixel", root, phone)
    shutil.rmtree(root, ignore_errors=True)
