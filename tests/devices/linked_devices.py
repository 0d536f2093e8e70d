"""Devices that exist, over every transport."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgenext.devices.link import DeviceLink
from edgenext.devices.transport import Channel
from edgenext.devices.transports.adb import ROOT as ADB_ROOT
from edgenext.devices.transports.adb import AdbChannel
from edgenext.devices.transports.local import LocalChannel
from edgenext.devices.transports.ssh import ROOT as SSH_ROOT
from edgenext.devices.transports.ssh import SshChannel

LINKED = ("local", "local-busybox", "local-mksh", "ssh", "adb")
"""Transports with a link; to this machine also with the shells of small Linuxes and Android."""
REMOTE = ("ssh", "adb")
"""Transports to an emulated machine, whose link can be cut."""
MARK = "edgenext-mark"
"""A word in the command lines of the programs that tests start."""


def over(names: Sequence[str], suite: Sequence[str] = ()) -> list[Any]:
    """Transports as parameters; those to emulated machines not in `suite` are a campaign."""

    def marks(name: str) -> list[pytest.MarkDecorator]:
        if name not in REMOTE:
            return []
        return [pytest.mark.peers] if name in suite else [pytest.mark.peers, pytest.mark.campaign]

    return [pytest.param(name, marks=marks(name)) for name in names]


@dataclass
class LinkedDevice:
    """A device over one transport.

    `root` is the path on this machine of the folder of our files; `peer` the emulated machine.
    """

    name: str
    channel: Callable[[], Channel]
    root: Callable[[], Path]
    peer: Any = None
    opened: list[DeviceLink] = field(default_factory=list)

    def link(self, **options: Any) -> DeviceLink:
        """A new link, which is closed at the end of the test."""
        self.opened.append(DeviceLink(self.channel(), **options))
        return self.opened[-1]

    def leftovers(self) -> list[str]:
        """All our files on the device except those that are stored by their content."""
        root = self.root()
        files = [p for p in root.rglob("*") if not p.is_dir()]
        return sorted(str(p.relative_to(root)) for p in files if p.parent.name != "store")

    def processes(self) -> list[str]:
        """Command lines of the programs of tests that run on the device."""
        lines = self.peer.processes() if self.peer else map(_cmdline, Path("/proc").glob("[0-9]*"))
        return [line for line in lines if MARK in line]

    def end(self) -> None:
        """Close all links and remove all our files."""
        for link in self.opened:
            link.close()
        shutil.rmtree(self.root(), ignore_errors=True)  # commands on an emulated machine are slow


def _cmdline(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def use_shell(shell: str, request: pytest.FixtureRequest, folder: Path) -> None:
    """Make `sh` this shell, with its own commands; skips the test where it is not installed."""
    if not shell:
        return
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} (apt-get install {shell})")
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=False)
    for name in {"sh", *(listed.stdout.split() if shell == "busybox" else ())}:
        (bin_folder / name).symlink_to(program)
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    request.getfixturevalue("monkeypatch").setenv("PATH", path)


def linked_device(name: str, request: pytest.FixtureRequest, folder: Path) -> LinkedDevice:
    """A device over a transport; skips the test where its peer cannot run."""
    if name.startswith("local"):
        root = folder / "root"
        use_shell(name.partition("-")[2], request, folder)
        return LinkedDevice(name, lambda: LocalChannel(str(root)), lambda: root)
    if name == "ssh":
        peer = request.getfixturevalue("jetson")
        address = f"root@{peer.host}"
        return LinkedDevice(
            name,
            lambda: SshChannel(address, peer.host_key, str(peer.key)),
            lambda: Path(peer.path(f"{peer.home}/{SSH_ROOT}")),
            peer,
        )
    peer = request.getfixturevalue("phone")
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(peer.server_port))
    return LinkedDevice(
        name, lambda: AdbChannel(peer.serial), lambda: Path(peer.path(ADB_ROOT)), peer
    )
