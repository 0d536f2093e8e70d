"""The user's devices: the file they are kept in, their selection and the link to each."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import Field

from edgenext.devices.link import DeviceLink
from edgenext.devices.transport import transports
from edgenext.errors import DeviceError, UsageError, unknown_name
from edgenext.schema import DEVICE_KINDS, SCRIPTED, Device, Record
from edgenext.system.files import user_folder, write_text
from edgenext.system.parsing import read_record

RESERVED = (*DEVICE_KINDS, "cpu")
"""Names that `--device` understands as something else than a device's name."""
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


class DeviceFile(Record):
    """The file of devices: schema version 1."""

    schema_version: int = 1
    devices: dict[str, Device] = Field(default_factory=dict)


def devices_path() -> Path:
    """The file of devices: $EDGENEXT_DEVICES, else devices.json in $XDG_CONFIG_HOME/edgenext."""
    if path := os.environ.get("EDGENEXT_DEVICES"):
        return Path(path)
    return user_folder("XDG_CONFIG_HOME", "~/.config") / "devices.json"


def known_devices() -> dict[str, Device]:
    """All devices by name.

    Raises:
        InputError: the file is broken.
    """
    path = devices_path()
    if not path.exists():
        return {}
    remedy = "Correct it or remove it"
    return read_record(path, DeviceFile, "a file of devices", remedy=remedy, version=1).devices


def check_name(name: str, kind: str = "") -> None:
    """Refuse an invalid name for a new device. One that runs JavaScript may have its kind's name.

    Raises:
        UsageError: it is not allowed, or is taken.
    """
    own = kind if kind in SCRIPTED else ""
    if not NAME.fullmatch(name) or (name in RESERVED and name != own):
        raise UsageError(
            f"{name!r} is not allowed as a device's name",
            f"Use letters, digits, dots and dashes; not {', '.join(RESERVED)}",
        )
    if name in known_devices():
        raise UsageError(
            f"there is already a device {name}", f"Remove it first: edgenext devices remove {name}"
        )


def store_device(device: Device) -> None:
    """Add a device to the file.

    Raises:
        UsageError: its name is not allowed, or is taken.
    """
    check_name(device.name, device.kind)
    _write(known_devices() | {device.name: device})


def remove_device(name: str) -> Device:
    """Remove a device from the file.

    Raises:
        UsageError: there is no device of that name.
    """
    devices = known_devices()
    if name not in devices:
        raise unknown_name("device", name, devices)
    device = devices.pop(name)
    _write(devices)
    return device


def find_device(name: str) -> Device:
    """The device of a name, or the only device of a kind.

    Raises:
        UsageError: there is none, or there are several of the kind; the remedy says how to add or
            name one.
    """
    devices = known_devices()
    if name in devices:
        return devices[name]
    if name not in DEVICE_KINDS:
        raise unknown_name("device", name, {*devices, *RESERVED})
    of_kind = [device for device in devices.values() if device.kind == name]
    if not of_kind:
        added = ", ".join(f"{device.name} is {device.kind}" for device in devices.values())
        raise UsageError(
            f"no device of kind {name} was added" + (f" ({added})" if added else ""),
            f"Add one: edgenext devices add my-{name} {_usual_address(name)}",
        )
    if len(of_kind) > 1:
        raise UsageError(
            f"{len(of_kind)} devices are of kind {name}",
            f"Name one: {', '.join(device.name for device in of_kind)}",
        )
    return of_kind[0]


def link_to(device: Device) -> DeviceLink:
    """The link to a device.

    Raises:
        DeviceError: it is measured by bundles, or by a transport that this version does not have.
    """
    for name in device.addresses:
        transport = transports().get(name)
        if transport and transport.open_channel:
            return DeviceLink(transport.open_channel(device))
        if transport:
            raise DeviceError(
                f"{device.name} has no shell: it runs JavaScript", "Use `edgenext bench`"
            )
    if device.bundle:
        raise DeviceError(
            f"{device.name} has no link",
            "Use `edgenext bench`: it writes a bundle to carry to the device",
        )
    raise DeviceError(
        f"{device.name} is reached by {', '.join(device.addresses) or 'no transport'}, "
        "which is not installed",
        f"Known transports: {', '.join(transports())}",
    )


def _usual_address(kind: str) -> str:
    """The option of `edgenext devices add` that a kind of device is usually added with."""
    usual = (f"--{t.name} {t.example}" for t in transports().values() if kind in t.kinds)
    return next(usual, "--bundle FOLDER")


def _write(devices: dict[str, Device]) -> None:
    write_text(devices_path(), DeviceFile(devices=devices).model_dump_json(indent=2) + "\n")
