"""The devices a user has: a file of them, and how one is picked."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import Field, ValidationError

from edgenext.devices.transports.adb import AdbChannel
from edgenext.devices.transports.link import LinkTransport, Told
from edgenext.devices.transports.local import LocalChannel
from edgenext.devices.transports.ssh import SshChannel
from edgenext.errors import DeviceError, InputError, UsageError, unknown_name
from edgenext.schema import Device, Record
from edgenext.system.files import write_text

KINDS = ("jetson", "android", "iphone", "linux")
HOW = {
    "jetson": "--ssh user@host",
    "android": "--adb SERIAL",
    "iphone": "--bundle FOLDER",
    "linux": "--ssh user@host",
}
"""How one of a kind is usually reached."""
RESERVED = (*KINDS, "cpu")
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


class DeviceFile(Record):
    """The file of devices: schema version 1."""

    schema_version: int = 1
    devices: dict[str, Device] = Field(default_factory=dict)


def devices_path() -> Path:
    """Where devices are kept: $EDGENEXT_DEVICES, else ~/.config/edgenext/devices.json."""
    if given := os.environ.get("EDGENEXT_DEVICES"):
        return Path(given)
    home = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
    return Path(home) / "edgenext" / "devices.json"


def known_devices() -> dict[str, Device]:
    """All devices by name.

    Raises:
        InputError: the file is broken.
    """
    path = devices_path()
    if not path.is_file():
        return {}
    try:
        return DeviceFile.model_validate_json(path.read_bytes()).devices
    except (OSError, ValidationError) as e:
        why = e.errors()[0]["msg"] if isinstance(e, ValidationError) else e.strerror
        raise InputError(f"{path} is no file of devices: {why}", "Mend it or remove it") from e


def check_name(name: str) -> None:
    """Refuse a name for a new device.

    Raises:
        UsageError: it cannot be one, or is taken.
    """
    if not NAME.fullmatch(name) or name in RESERVED:
        raise UsageError(
            f"{name!r} cannot be a device's name",
            f"Use letters, digits, dots and dashes; not {', '.join(RESERVED)}",
        )
    if name in known_devices():
        raise UsageError(f"there is a device {name}", f"edgenext devices remove {name} first")


def add(device: Device) -> None:
    """Keep a device.

    Raises:
        UsageError: a name that cannot be, or is taken.
    """
    check_name(device.name)
    _write(known_devices() | {device.name: device})


def remove(name: str) -> Device:
    """Forget a device.

    Raises:
        UsageError: there is none of that name.
    """
    devices = known_devices()
    if name not in devices:
        raise unknown_name("device", name, devices)
    device = devices.pop(name)
    _write(devices)
    return device


def find(what: str) -> Device:
    """The device of a name, or the only one of a kind.

    Raises:
        UsageError: there is none, or several of the kind; the message says how to add or name one.
    """
    devices = known_devices()
    if what in devices:
        return devices[what]
    if what not in KINDS:
        raise unknown_name("device", what, (*devices, *RESERVED))
    of_kind = [name for name, device in devices.items() if device.kind == what]
    if not of_kind:
        raise UsageError(
            f"no {what} is known", f"Add one: edgenext devices add my-{what} {HOW[what]}"
        )
    if len(of_kind) > 1:
        raise UsageError(
            f"{len(of_kind)} devices are of kind {what}", f"Name one: {', '.join(of_kind)}"
        )
    return devices[of_kind[0]]


def transport_for(device: Device, told: Told | None = None) -> LinkTransport:
    """The way to a device that has a link.

    Raises:
        DeviceError: it has none: it is reached by bundles.
    """
    if device.local:
        return LinkTransport(LocalChannel(device.root), told=told)
    if device.ssh:
        channel = SshChannel(device.ssh, device.host_key, device.identity, device.root)
        return LinkTransport(channel, told=told)
    if device.adb:
        return LinkTransport(AdbChannel(device.adb, device.root), told=told)
    raise DeviceError(
        f"{device.name} has no link", "Use `edgenext bench`: it writes a bundle to carry there"
    )


def _write(devices: dict[str, Device]) -> None:
    write_text(devices_path(), DeviceFile(devices=devices).model_dump_json(indent=2) + "\n")
