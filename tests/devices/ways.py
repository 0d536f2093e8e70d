"""Every transport to a device that is really there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgenext.devices.transports.adb import ROOT as ADB_ROOT
from edgenext.devices.transports.adb import AdbChannel
from edgenext.devices.transports.channel import Channel
from edgenext.devices.transports.link import LinkTransport
from edgenext.devices.transports.local import LocalChannel
from edgenext.devices.transports.ssh import ROOT as SSH_ROOT
from edgenext.devices.transports.ssh import SshChannel

LINKED = ("local", "local-busybox", "local-mksh", "ssh", "adb")
"""Transports over a link; to this machine with the shells of small Linuxes and of Android too."""
REMOTE = ("ssh", "adb")
"""Those to a machine of its own, whose link can be cut."""
MARK = "edgenext-mark"
"""What the command lines of our tests' programs have in them."""


@dataclass
class Way:
    """A transport, the folder of our files as this machine sees it, and the peer if any."""

    name: str
    channel: Callable[[], Channel]
    root: Callable[[], Path]
    peer: Any = None
    opened: list[LinkTransport] = field(default_factory=list)

    def transport(self, **options: Any) -> LinkTransport:
        """A new transport, which is closed at the end of the test."""
        self.opened.append(LinkTransport(self.channel(), **options))
        return self.opened[-1]

    def left(self) -> list[str]:
        """Every file of ours on the device but the whole ones that are kept by their content."""
        root = self.root()
        found = [p for p in root.rglob("*") if not p.is_dir()]
        return sorted(str(p.relative_to(root)) for p in found if p.parent.name != "store")

    def processes(self) -> list[str]:
        """Command lines of our tests' programs that run there."""
        lines = self.peer.processes() if self.peer else map(_cmdline, Path("/proc").glob("[0-9]*"))
        return [line for line in lines if MARK in line]

    def end(self) -> None:
        """Let go of everything and leave nothing."""
        for link in self.opened:
            link.close()
        shutil.rmtree(self.root() / "lock", ignore_errors=True)  # whoever holds it
        with LinkTransport(self.channel()) as link:
            link.clean()


def _cmdline(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def use_shell(shell: str, request: pytest.FixtureRequest, folder: Path) -> None:
    """Put a shell in front of the path as `sh`, with all of its own commands; skips without it."""
    if not shell:
        return
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} (apt-get install {shell})")
    place = folder / "bin"
    place.mkdir()
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=False)
    for name in {"sh", *(listed.stdout.split() if shell == "busybox" else ())}:
        (place / name).symlink_to(program)
    path = f"{place}{os.pathsep}{os.environ['PATH']}"
    request.getfixturevalue("monkeypatch").setenv("PATH", path)


def way(name: str, request: pytest.FixtureRequest, folder: Path) -> Way:
    """One transport by name; skips where its peer cannot be had."""
    if name.startswith("local"):
        root = folder / "root"
        use_shell(name.partition("-")[2], request, folder)
        return Way(name, lambda: LocalChannel(str(root)), lambda: root)
    if name == "ssh":
        peer = request.getfixturevalue("jetson")
        address = f"root@{peer.host}"
        return Way(
            name,
            lambda: SshChannel(address, peer.host_key, str(peer.key)),
            lambda: Path(peer.path(f"{peer.home}/{SSH_ROOT}")),
            peer,
        )
    peer = request.getfixturevalue("phone")
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(peer.server_port))
    return Way(name, lambda: AdbChannel(peer.serial), lambda: Path(peer.path(ADB_ROOT)), peer)
