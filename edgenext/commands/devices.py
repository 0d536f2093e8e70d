"""The devices that artifacts are measured on: add, list, probe, clean, remove."""

from __future__ import annotations

from typing import Any

from edgenext.devices import add, registry
from edgenext.devices.registry import find_device, known_devices, link_to
from edgenext.schema import Device, DeviceFacts


def add_device(name: str, **settings: Any) -> tuple[Device, DeviceFacts | None]:
    """Store a device under a name once it has answered: see `edgenext devices add`.

    Args:
        name: of the device.
        settings: exactly one address, such as `ssh="me@host"`, `local=True` or `bundle="folder"`,
            and the settings of `devices.add.add_device`.

    Returns:
        The device and its facts; None instead of facts for a device that is reached by bundles.

    Raises:
        UsageError: not exactly one address, or a name that is taken.
        DeviceError: it does not answer, or its host key cannot be verified.

    >>> device, facts = add_device("this-machine", local=True)
    >>> device.name, facts.cores > 0
    ('this-machine', True)
    """
    return add.add_device(name, **settings)


def list_devices() -> list[Device]:
    """The devices that were added.

    Raises:
        InputError: the file of devices is broken.

    >>> [device.name for device in list_devices()]
    ['this-machine']
    """
    return list(known_devices().values())


def probe_device(name: str) -> tuple[Device, DeviceFacts]:
    """A device and its present facts.

    Args:
        name: of the device, or the kind of the only one, such as `jetson`.

    Raises:
        UsageError: no such device.
        DeviceError: it does not answer.

    >>> device, facts = probe_device("this-machine")
    >>> device.local, facts.kind
    (True, 'linux')
    """
    device = find_device(name)
    return device, add.device_facts(device) or DeviceFacts(kind=device.kind)


def clean_device(name: str) -> str:
    """Remove all files of this package from a device; the folder that they were in.

    Args:
        name: of the device, or the kind of the only one, such as `jetson`.

    Raises:
        UsageError: no such device.
        DeviceError: it does not answer.

    >>> clean_device("this-machine").endswith("device")
    True
    """
    with link_to(find_device(name)) as link:
        link.clean()
        return link.root


def remove_device(name: str) -> Device:
    """Remove a device from the list; its files stay on it.

    Args:
        name: of the device.

    Raises:
        UsageError: no such device.

    >>> remove_device("this-machine").name
    'this-machine'
    """
    return registry.remove_device(name)
