"""The devices that artifacts are measured on: add, list, probe, clean, remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgenext.schema import Device, DeviceFacts


def add_device(name: str, **address: Any) -> tuple[Device, DeviceFacts | None]:
    """Keep a device under a name, once it has answered: see `edgenext devices add`.

    Args:
        name: what it will be called.
        address: exactly one of `ssh`, `adb`, `bundle` and `local`, and what goes with it; see
            `devices.add.add`.

    Returns:
        The device, and what it says of itself; None of one that is reached by bundles.

    Raises:
        UsageError: not exactly one address, or a name that is taken.
        DeviceError: it does not answer, or its host key is not known to be right.

    >>> device, facts = add_device("this-machine", local=True)
    >>> device.name, facts.cores > 0
    ('this-machine', True)
    """
    from edgenext.devices.add import add

    return add(name, **address)


def list_devices() -> list[Device]:
    """The devices that were added.

    Raises:
        InputError: the file of devices is broken.

    >>> [device.name for device in list_devices()]
    ['this-machine']
    """
    from edgenext.devices.registry import known_devices

    return list(known_devices().values())


def probe_device(name: str) -> tuple[Device, DeviceFacts]:
    """A device, and what it says of itself and of its state.

    Raises:
        UsageError: no such device.
        DeviceError: it does not answer.

    >>> device, facts = probe_device("this-machine")
    >>> device.local, facts.kind
    (True, 'linux')
    """
    from edgenext.devices.registry import find, transport_for

    device = find(name)
    with transport_for(device) as link:
        return device, link.probe(device.python)


def clean_device(name: str) -> str:
    """Remove every file of this package from a device; the folder there that is empty now.

    Raises:
        UsageError: no such device.
        DeviceError: it does not answer.

    >>> clean_device("this-machine").endswith("device")
    True
    """
    from edgenext.devices.registry import find, transport_for

    with transport_for(find(name)) as link:
        link.clean()
        return link.root


def remove_device(name: str) -> Device:
    """Forget a device; what is on it stays.

    Raises:
        UsageError: no such device.

    >>> remove_device("this-machine").name
    'this-machine'
    """
    from edgenext.devices.registry import remove

    return remove(name)
