"""Devices over SSH: one pinned host key each, and no other."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Coroutine
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Any, TypeVar

from edgenext.devices.transports.channel import LinkError, Reply
from edgenext.errors import DeviceError, UsageError
from edgenext.formats.session import needed

if TYPE_CHECKING:
    import asyncssh

T = TypeVar("T")

CONNECT_S = 20.0
"""To connect and log in; an emulated device takes one."""
GRACE_S = 5.0
"""For the loop to say that a call has timed out."""
KEEPALIVE_S = 5.0
"""Between two signs of life; three that are missing are a broken link."""
ROOT = ".cache/edgenext-device"
"""Under the user's home, where a login begins."""


def library() -> Any:
    """The `asyncssh` package, imported.

    Raises:
        MissingDependencyError: it is not installed.
    """
    with needed("asyncssh", "devices"):
        import asyncssh
    return asyncssh


ADDRESS = re.compile(
    r"(?:(?P<user>[\w.][\w.-]*)@)?"
    r"(?:\[(?P<six>[\da-fA-F:.%\w]+)\]|(?P<host>[\w][\w.-]*))"
    r"(?::(?P<port>\d{1,5}))?"
)


def parse_address(address: str) -> tuple[str, str, int]:
    """User, host and port of `user@host[:port]`; the user is empty where none is given.

    Raises:
        UsageError: it is no such address.
    """
    found = ADDRESS.fullmatch(address)
    port = int(found["port"] or 22) if found else 0
    if found is None or not 0 < port < 65536:
        raise UsageError(
            f"--ssh {address!r} is no address",
            "Give user@host or user@host:port, an IPv6 address in brackets",
        )
    return found["user"] or "", found["six"] or found["host"], port


class Loop:
    """An event loop in a thread of its own, for code that is not asynchronous."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """The result of a coroutine.

        Raises:
            TimeoutError: it has none by then, and is cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout_s), self._loop)
        try:
            return future.result(timeout_s + GRACE_S)
        except FutureTimeout as e:
            future.cancel()
            raise TimeoutError from e
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End everything that goes on in the loop, then the loop and its thread."""
        with contextlib.suppress(FutureTimeout):
            asyncio.run_coroutine_threadsafe(_end_others(), self._loop).result(GRACE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GRACE_S)
        if not self._thread.is_alive():
            self._loop.close()


async def _end_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _abort(connection: asyncssh.SSHClientConnection) -> None:
    connection.abort()
    await connection.wait_closed()


class SshChannel:
    """A login on one device, whose host key is known.

    Args:
        address: user@host[:port].
        host_key: the only one that is accepted, as `ssh-ed25519 AAAA…`.
        identity: a private key's file; empty for the agent's and ~/.ssh's.
        root: folder of our files there.
    """

    def __init__(self, address: str, host_key: str, identity: str = "", root: str = "") -> None:
        self._user, self._host, self._port = parse_address(address)
        self._host_key, self._identity = host_key, identity
        self.where = f"ssh {address}"
        self.root = root or ROOT
        self._loop: Loop | None = None
        self._connection: asyncssh.SSHClientConnection | None = None

    def call(self, command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> Reply:
        """Run a line of shell; see `Channel`."""
        ssh = library()
        if self._loop is None:
            self._loop = Loop()
        if self._connection is None:
            self._connection = self._connect(ssh)
        # asyncssh does not end an input that is empty
        given: dict[str, Any] = {"input": stdin} if stdin else {"stdin": ssh.DEVNULL}
        try:
            done = self._loop.run(
                self._connection.run(command, encoding=None, check=False, **given), timeout_s
            )
        except TimeoutError as e:
            self.close()
            raise LinkError(f"no answer for {timeout_s:g} s") from e
        except (OSError, ssh.Error) as e:
            self.close()
            raise LinkError(str(e) or type(e).__name__) from e
        if done.exit_status is None:
            self.close()
            raise LinkError("the connection was lost")
        err = done.stderr if isinstance(done.stderr, bytes) else b""
        out = done.stdout if isinstance(done.stdout, bytes) else b""
        return Reply(done.exit_status, out, err.decode(errors="replace"))

    def close(self) -> None:
        """End the connection at once: a broken one has nothing to say."""
        connection, loop = self._connection, self._loop
        self._connection = self._loop = None
        if loop is None:
            return
        if connection is not None:
            with contextlib.suppress(TimeoutError, OSError):
                loop.run(_abort(connection), GRACE_S)
        loop.close()

    def _connect(self, ssh: Any) -> asyncssh.SSHClientConnection:
        assert self._loop is not None  # noqa: S101 - made by `call`
        options: dict[str, Any] = {
            "port": self._port,
            "known_hosts": trusted(ssh, self._host_key),
            "keepalive_interval": KEEPALIVE_S,
            "connect_timeout": CONNECT_S,
            "login_timeout": CONNECT_S,
        }
        if self._user:
            options["username"] = self._user
        if self._identity:
            options["client_keys"] = [self._identity]
        try:
            connection: asyncssh.SSHClientConnection = self._loop.run(
                ssh.connect(self._host, **options), CONNECT_S
            )
        except ssh.HostKeyNotVerifiable as e:
            raise DeviceError(
                f"{self.where} shows another host key than the one that was added",
                "If the device was set up again, remove it and add it again",
            ) from e
        except ssh.PermissionDenied as e:
            raise DeviceError(
                f"{self.where} does not let us in: {e}",
                "Add your public key to its authorized_keys, or give --identity",
            ) from e
        except (FileNotFoundError, ssh.KeyImportError, ssh.KeyEncryptionError) as e:
            raise DeviceError(
                f"the key {self._identity or 'in ~/.ssh'} cannot be used: {e}",
                "Give --identity the file of a private key, or unlock it with ssh-agent",
            ) from e
        except (OSError, TimeoutError, ssh.Error) as e:
            raise LinkError(str(e) or "no answer") from e
        return connection


def trusted(ssh: Any, host_key: str) -> tuple[list[Any], list[Any], list[Any]]:
    """What asyncssh takes for known hosts: one key, no authority, none revoked.

    Raises:
        DeviceError: it is no public key.
    """
    try:
        return [ssh.import_public_key(host_key)], [], []
    except ssh.KeyImportError as e:
        raise DeviceError(
            "the device's host key in the devices file cannot be read", "Add the device again"
        ) from e


def host_key_of(address: str) -> tuple[str, str]:
    """The public key that a host shows now, and its fingerprint. Nothing proves that it is right.

    Raises:
        DeviceError: it cannot be reached.
    """
    ssh = library()
    _, host, port = parse_address(address)
    loop = Loop()
    try:
        key = loop.run(ssh.get_server_host_key(host, port), CONNECT_S)
    except (OSError, TimeoutError, ssh.Error) as e:
        raise DeviceError(
            f"ssh {address} cannot be reached: {e or 'no answer'}", "Is it on, and the name right?"
        ) from e
    finally:
        loop.close()
    if key is None:
        raise DeviceError(f"ssh {address} shows no host key")
    return key.export_public_key().decode().strip(), key.get_fingerprint()


def known_host(address: str, key: str) -> bool | None:
    """Whether ~/.ssh/known_hosts has this key for a host; None where it has none at all."""
    from pathlib import Path

    ssh = library()
    _, host, port = parse_address(address)
    try:
        known = ssh.read_known_hosts(str(Path("~/.ssh/known_hosts").expanduser()))
        keys, *_ = known.match(host, "", port if port != 22 else None)
    except (OSError, ValueError):
        return None
    return ssh.import_public_key(key) in keys if keys else None
