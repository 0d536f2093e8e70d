"""The network between this machine and a peer."""

from __future__ import annotations

import contextlib
import ipaddress
import os

import psutil
from peers.host import UnavailableError, call

NETWORK = ipaddress.IPv4Network("10.231.0.0/16")


class Cable:
    """A pair of interfaces: one on the host, and `eth0` in the network namespace of a process.

    Args:
        pid: that process.

    Attributes:
        address: of `eth0`.
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
                self._ip_in_peer("addr", "add", f"{network[2]}/30", "dev", "eth0")
                self.mend()
                return
        raise UnavailableError(f"no network of {NETWORK} is free")

    def cut(self) -> None:
        """Cut the network: packets are lost, and connections get no error."""
        self._ip_in_peer("link", "set", "eth0", "down")

    def mend(self) -> None:
        """Restore the network."""
        self._ip_in_peer("link", "set", "eth0", "up")

    def remove(self) -> None:
        """Remove both interfaces."""
        with contextlib.suppress(UnavailableError):  # they may have been removed with the namespace
            call("ip", "link", "del", self._name)

    def _added(self) -> bool:
        """Whether the name was free: two processes that make peers compete for it."""
        peer = ("peer", "name", "eth0", "netns", str(self._pid))
        try:
            call("ip", "link", "add", self._name, "type", "veth", *peer)
        except UnavailableError as e:
            if "File exists" in str(e):
                return False
            raise
        return True

    def _ip_in_peer(self, *command: str) -> None:
        call("nsenter", f"--target={self._pid}", "--net", "ip", *command)
