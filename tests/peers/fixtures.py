"""The two devices of the tests: one behind SSH, one behind adb; real protocols, emulated CPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from peers.host import UnavailableError, register_emulator, require
from peers.roots import find_root

if TYPE_CHECKING:
    from peers.adbd import AdbPeer
    from peers.sshd import SshPeer

P = TypeVar("P", "AdbPeer", "SshPeer")


@pytest.fixture(scope="session")
def peer_root() -> Path:
    """The arm64 root of the peers; skips the test where there is none."""
    pytest.importorskip("asyncssh", reason="no asyncssh (pip install 'edgenext[devices]')")
    pytest.importorskip("adbutils", reason="no adbutils (pip install 'edgenext[devices]')")
    try:
        require()
        register_emulator()
        return find_root()
    except UnavailableError as e:
        pytest.skip(f"no emulated devices: {e}")


@pytest.fixture(scope="session")
def jetson(peer_root: Path) -> Iterator[SshPeer]:
    """An aarch64 host behind a real OpenSSH server, with stand-ins for NVIDIA's commands."""
    from peers.sshd import SshPeer

    with closing(started(SshPeer, peer_root)) as peer:
        yield peer


@pytest.fixture(scope="session")
def phone(peer_root: Path) -> Iterator[AdbPeer]:
    """An aarch64 host behind a real adbd, with stand-ins for Android's commands."""
    from peers.adbd import AdbPeer

    with closing(started(AdbPeer, peer_root)) as peer:
        yield peer


def started(kind: Callable[[Path], P], root: Path) -> P:
    """A peer; skips the test where the kernel lacks a feature. A daemon that fails is an error."""
    try:
        return kind(root)
    except UnavailableError as e:
        pytest.skip(f"no emulated devices: {e}")
