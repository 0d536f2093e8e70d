"""Devices over SSH, each with one pinned host key."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenext.devices.transport import LinkError, Reply, Transport, TransportOption
from edgenext.errors import DeviceError, UsageError
from edgenext.schema import Device

if TYPE_CHECKING:
    import asyncssh

    from edgenext.devices.event_loop import EventLoop

CONNECT_S = 20.0
"""Timeout to connect and log in; an emulated device takes a second."""
CLOSE_S = 5.0
"""Timeout to close a connection."""
KEEPALIVE_S = 5.0
"""Between two keep-alive messages; the link is broken when three are not answered."""
ROOT = ".cache/edgenext-device"
"""Under the user's home, where a login starts."""
KNOWN_HOSTS = "~/.ssh/known_hosts"


def library() -> Any:
    """The `asyncssh` package, imported.

    Raises:
        MissingDependencyError: it is not installed.
    """
    from edgenext.formats.session import needed

    with needed("asyncssh", "devices"):
        import asyncssh
    return asyncssh


ADDRESS = re.compile(
    r"(?:(?P<user>[\w.][\w.-]*)@)?"
    r"(?:\[(?P<ipv6>[\da-fA-F:.%\w]+)\]|(?P<host>[\w][\w.-]*))"
    r"(?::(?P<port>\d{1,5}))?"
)


def parse_address(address: str) -> tuple[str, str, int]:
    """User, host and port of `user@host[:port]`; the user is empty where the address has none.

    Raises:
        UsageError: not such an address.
    """
    match = ADDRESS.fullmatch(address)
    port = int(match["port"] or 22) if match else 0
    if match is None or not 0 < port < 65536:
        raise UsageError(
            f"--ssh {address!r} is not an address",
            "Give user@host or user@host:port, with an IPv6 address in brackets",
        )
    return match["user"] or "", match["ipv6"] or match["host"], port


async def _abort(connection: asyncssh.SSHClientConnection) -> None:
    connection.abort()
    await connection.wait_closed()


class SshChannel:
    """A login on one device whose host key is known.

    Args:
        address: user@host[:port].
        host_key: the only accepted one, as `ssh-ed25519 AAAA…`.
        identity: the file of a private key; empty for those of the agent and of ~/.ssh.
        root: the folder of our files on the device.
    """

    def __init__(self, address: str, host_key: str, identity: str = "", root: str = "") -> None:
        self._user, self._host, self._port = parse_address(address)
        self._host_key, self._identity = host_key, identity
        self.where = f"ssh {address}"
        self.root = root or ROOT
        self._loop: EventLoop | None = None
        self._connection: asyncssh.SSHClientConnection | None = None

    def call(self, command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> Reply:
        """Run a shell command; see `Channel`."""
        ssh = library()
        if self._loop is None:
            from edgenext.devices.event_loop import EventLoop

            self._loop = EventLoop()
        if self._connection is None:
            self._connection = self._connect(ssh)
        # asyncssh does not close an empty input
        source: dict[str, Any] = {"input": stdin} if stdin else {"stdin": ssh.DEVNULL}
        try:
            result = self._loop.run(
                self._connection.run(command, encoding=None, check=False, **source), timeout_s
            )
        except TimeoutError as e:
            self.close()
            raise LinkError(f"no answer for {timeout_s:g} s") from e
        except (OSError, ssh.Error) as e:
            self.close()
            raise LinkError(str(e) or type(e).__name__) from e
        if result.exit_status is None:
            self.close()
            raise LinkError("the connection was lost")
        err = result.stderr if isinstance(result.stderr, bytes) else b""
        out = result.stdout if isinstance(result.stdout, bytes) else b""
        return Reply(result.exit_status, out, err.decode(errors="replace"))

    def close(self) -> None:
        """Abort the connection, which may be broken."""
        connection, loop = self._connection, self._loop
        self._connection = self._loop = None
        if loop is None:
            return
        if connection is not None:
            with contextlib.suppress(TimeoutError, OSError):
                loop.run(_abort(connection), CLOSE_S)
        loop.close()

    def _connect(self, ssh: Any) -> asyncssh.SSHClientConnection:
        assert self._loop is not None  # noqa: S101 - `call` has made it
        options: dict[str, Any] = {
            "port": self._port,
            "known_hosts": accepted_keys(ssh, self._host_key),
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
                f"{self.where} has another host key than the one that was added",
                "If the device was set up again, remove it and add it again",
            ) from e
        except ssh.PermissionDenied as e:
            raise DeviceError(
                f"{self.where} refuses the login: {e}",
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


def accepted_keys(ssh: Any, host_key: str) -> tuple[list[Any], list[Any], list[Any]]:
    """The `known_hosts` argument of asyncssh: one key, no certificate authority, none revoked.

    Raises:
        DeviceError: not a public key.
    """
    try:
        return [ssh.import_public_key(host_key)], [], []
    except ssh.KeyImportError as e:
        raise DeviceError(
            "the device's host key in the devices file cannot be read", "Add the device again"
        ) from e


def host_key_of(address: str) -> tuple[str, str]:
    """The public key that a host presents, not verified, and its fingerprint.

    Raises:
        DeviceError: the host cannot be reached.
    """
    from edgenext.devices.event_loop import EventLoop

    ssh = library()
    _, host, port = parse_address(address)
    loop = EventLoop()
    try:
        key = loop.run(ssh.get_server_host_key(host, port), CONNECT_S)
    except (OSError, TimeoutError, ssh.Error) as e:
        raise DeviceError(
            f"ssh {address} cannot be reached: {e or 'no answer'}",
            "Is it switched on, and is the name right?",
        ) from e
    finally:
        loop.close()
    if key is None:
        raise DeviceError(f"ssh {address} presents no host key")
    return key.export_public_key().decode().strip(), key.get_fingerprint()


def known_host(address: str, key: str) -> bool | None:
    """Whether ~/.ssh/known_hosts has this key for a host; None where it has no key for it."""
    ssh = library()
    _, host, port = parse_address(address)
    try:
        known = ssh.read_known_hosts(str(Path(KNOWN_HOSTS).expanduser()))
        keys, *_ = known.match(host, "", port if port != 22 else None)
    except (OSError, ValueError):
        return None
    return ssh.import_public_key(key) in keys if keys else None


def verified_host_key(address: str, fingerprint: str) -> str:
    """The host key of an address, verified by its fingerprint or by ~/.ssh/known_hosts.

    Raises:
        DeviceError: neither verifies it.
    """
    key, presented = host_key_of(address)
    if fingerprint:
        if fingerprint != presented:
            raise DeviceError(
                f"ssh {address} has the host key {presented}, not {fingerprint}",
                "It is another machine, or was set up again: find out before you go on",
            )
        return key
    known = known_host(address, key)
    if known:
        return key
    if known is False:
        raise DeviceError(
            f"ssh {address} has another host key ({presented}) than {KNOWN_HOSTS} has for it",
            "It is another machine, or was set up again: find out before you go on",
        )
    raise DeviceError(
        f"the host key of ssh {address} is not known ({presented})",
        f"Compare it with `ssh-keygen -lf` on the device, then add --host-key {presented}",
    )


def open_channel(device: Device) -> SshChannel:
    """The channel to a device whose host key is pinned."""
    return SshChannel(device.ssh, device.host_key, device.identity, device.root)


def device_fields(address: str, options: Mapping[str, str]) -> dict[str, Any]:
    """A device with its verified host key."""
    return {
        "ssh": address,
        "host_key": verified_host_key(address, options.get("fingerprint", "")),
        "identity": options.get("identity", ""),
    }


TRANSPORT = Transport(
    name="ssh",
    help="user@host[:port]: Jetson, Raspberry Pi, any Linux.",
    open_channel=open_channel,
    library=library,
    example="user@host",
    kinds=("jetson", "linux"),
    options=(
        TransportOption("identity", "Private key for --ssh.", is_path=True),
        TransportOption(
            "fingerprint",
            "Fingerprint of the host's key, SHA256:…, if ssh does not know it.",
            flag="--host-key",
        ),
    ),
    device_fields=device_fields,
)
