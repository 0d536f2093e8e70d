"""The network cable between us and a peer, in a network of its own."""

from __future__ import annotations

import contextlib
import ipaddress
import os

import psutil
from peers.host import UnavailableError, call

NETWORK = ipaddress.IPv4Network("10.231.0.0/16")


class Cable:
    """A pair of interfaces: ours, and `eth0` in the network namespace of a process.

    Args:
        pid: that process.

    Attributes:
        address: of the other end.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        used = [a.address for all_ in psutil.net_if_addrs().values() for a in all_]
        for i in range(256):
            number = (os.getpid() + i) % 256
            network = ipaddress.IPv4Network((NETWORK[256 * number], 24))
            if any(address.startswith(f"{network[0]}"[:-1]) for address in used):
                continue
            self._name = f"edgepeer{number}"
            if self._added():
                self.address = str(network[2])
                call("ip", "addr", "add", f"{network[1]}/30", "dev", self._name)
                call("ip", "link", "set", self._name, "up")
                self._there("addr", "add", f"{network[2]}/30", "dev", "eth0")
                self.mend()
                return
        raise UnavailableError(f"no network of {NETWORK} is free")

    def cut(self) -> None:
        """Pull it: packets are lost, connections are not told."""
        self._there("link", "set", "eth0", "down")

    def mend(self) -> None:
        """Put it in again."""
        self._there("link", "set", "eth0", "up")

    def remove(self) -> None:
        """Take both ends away."""
        with contextlib.suppress(UnavailableError):  # they may be gone with the namespace
            call("ip", "link", "del", self._name)

    def _added(self) -> bool:
        """Whether the name was free: it is what two makers of peers contend for."""
        peer = ("peer", "name", "eth0", "netns", str(self._pid))
        try:
            call("ip", "link", "add", self._name, "type", "veth", *peer)
        except UnavailableError as e:
            if "File exists" in str(e):
                return False
            raise
        return True

    def _there(self, *command: str) -> None:
        call("nsenter", f"--target={self._pid}", "--net", "ip", *command)
