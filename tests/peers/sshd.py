"""A peer with a real OpenSSH server: it stands in for a Jetson."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import asyncssh
from peers.peer import Peer

T = TypeVar("T")
CONFIG = """\
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/authorized_keys/%u
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
MaxStartups 100
PidFile none
Subsystem sftp internal-sftp
"""


class SshPeer(Peer):
    """An aarch64 host with sshd and the users root and `nano`, who has no privileges.

    Attributes:
        key: the file of the private key of both users.
        host_key: the host's public key, as a line of known_hosts has it after the address.
        known_hosts: a file with the host's key.
        home: root's, on the peer.
    """

    daemon = ("/usr/sbin/sshd", "-D", "-e")
    programs = ("sshd", "sshd-session", "sshd-auth")
    release = "5.15.148-tegra"
    port = 22
    home = "/root"
    user = "root"
    users = ("root", "nano")

    def __init__(self, root: Path, kind: str = "jetson") -> None:
        super().__init__(root, kind)

    def prepare(self) -> None:
        """Make the keys of this host and of its users."""
        host, client = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        public = client.export_public_key().decode()
        self.host_key = host.export_public_key().decode().strip()
        self.known_hosts = self.folder / "known_hosts"
        self.known_hosts.write_text(f"{self.address} {self.host_key}\n")
        self.key = self.folder / "id_ed25519"
        self.key.touch(0o600)
        client.write_private_key(str(self.key))
        ssh = "/etc/ssh"
        self.write(f"{ssh}/ssh_host_ed25519_key", host.export_private_key().decode(), 0o600)
        environment = " ".join(
            f"{name}={value}" for name, value in self.env.items() if name != "PATH"
        )
        self.write(f"{ssh}/sshd_config", f"{CONFIG}SetEnv {environment}\n")
        for user in self.users:
            self.write(f"{ssh}/authorized_keys/{user}", public)
        os.chown(self.path("/home/nano"), 1000, 1000)

    def session(
        self, use: Callable[[asyncssh.SSHClientConnection], Awaitable[T]], user: str = "root"
    ) -> T:
        """Log in and use the connection."""

        async def logged_in() -> T:
            async with asyncssh.connect(
                self.address,
                self.port,
                username=user,
                client_keys=[str(self.key)],
                known_hosts=str(self.known_hosts),
                config=None,
            ) as connection:
                return await use(connection)

        return asyncio.run(logged_in())

    def ssh(self, command: str, user: str = "root") -> tuple[int | None, str, str]:
        """Exit code, output and errors of a shell command."""

        async def use(connection: asyncssh.SSHClientConnection) -> tuple[int | None, str, str]:
            done = await connection.run(command, encoding="utf-8")
            return done.exit_status, str(done.stdout), str(done.stderr)

        return self.session(use, user)

    def answers(self) -> bool:
        """Whether it sends its version."""
        try:
            with socket.create_connection((self.address, self.port), 5) as s:
                return s.recv(8).startswith(b"SSH-2.0")
        except OSError:
            return False
