"""A transport: one module of `devices/transports/`, which says how its devices are reached.

All that the rest of the package knows of a transport is derived from the module's TRANSPORT: the
options that it adds to `edgenext devices add`, the verification of a new device, and the channel to
a device. Modules are found by listing the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Protocol

from edgenext.schema import Device, DeviceKind

PACKAGE = "edgenext.devices.transports"


@dataclass(frozen=True)
class Reply:
    """The result of a command: its exit code and its output."""

    code: int
    out: bytes
    err: str


class LinkError(Exception):
    """The link broke, or no answer came in time: the command may have been executed or not."""


class Channel(Protocol):
    """A channel to one device. The first call opens it, and so does the next call after a break."""

    where: str
    """The device's name in messages: `ssh nano@192.168.55.1`."""
    root: str
    """The folder on the device that all our files are kept in."""

    def call(self, command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> Reply:
        """Run a shell command to its end.

        Args:
            command: one line, with every argument quoted.
            stdin: the command's standard input.
            timeout_s: the longest wait for its end; the command may still run after that.

        Raises:
            LinkError: the link broke or no answer came in time; another call may succeed.
            DeviceError: there is no such device, or it refuses access.
        """
        ...

    def close(self) -> None:
        """Close the channel."""
        ...


@dataclass(frozen=True)
class TransportOption:
    """An option that a transport adds to `edgenext devices add` besides its address.

    `name` is the keyword of `add_device`, `flag` the spelling on the command line where that is
    not `--<name>`. The command line makes a path absolute. A switch takes no value.
    """

    name: str
    help: str
    flag: str = ""
    is_path: bool = False
    is_switch: bool = False

    @property
    def spelling(self) -> str:
        """The option on the command line."""
        return self.flag or f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True)
class Transport:
    """How devices of one transport are added and reached.

    Attributes:
        name: of the option that takes the address, and of the address in `Device.addresses`.
        help: of that option.
        open_channel: makes the channel to a device; it may connect with the first call only. None
            where devices have no shell: they run JavaScript.
        example: an address, for messages; empty where the option is a flag without an address.
        kinds: the kinds of device that are usually reached by this transport.
        options: the other options.
        device_fields: verifies a new device, given its address (empty for a flag) and the options
            by name, and returns the fields of its `Device`; without it, the address is kept in
            `Device.links`. Raises a DeviceError where the device cannot be verified.
        library: imports the package that the transport needs, or raises MissingDependencyError.
    """

    name: str
    help: str
    open_channel: Callable[[Device], Channel] | None
    example: str = ""
    kinds: tuple[DeviceKind, ...] = ()
    options: tuple[TransportOption, ...] = ()
    device_fields: Callable[[str, Mapping[str, str]], dict[str, Any]] | None = None
    library: Callable[[], Any] | None = None

    def new_device_fields(self, address: str, options: Mapping[str, str]) -> dict[str, Any]:
        """The fields of `Device` of a new device: see `device_fields`."""
        if self.device_fields:
            return self.device_fields(address, options)
        return {"links": {self.name: address or self.name}}


@cache
def transports() -> dict[str, Transport]:
    """All transports by name, in alphabetical order of their modules."""
    folder = import_module(PACKAGE).__path__
    modules = [import_module(f"{PACKAGE}.{m.name}") for m in iter_modules(folder)]
    return {module.TRANSPORT.name: module.TRANSPORT for module in modules}
