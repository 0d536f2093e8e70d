"""Adding a device: it is verified and probed before it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgenext.devices import registry
from edgenext.devices.transport import transports
from edgenext.errors import UsageError, unknown_name
from edgenext.schema import DEVICE_KINDS, SCRIPTED, Device, DeviceFacts


def add_device(
    name: str,
    *,
    bundle: str = "",
    kind: str = "",
    python: str = "",
    root: str = "",
    **settings: str | bool,
) -> tuple[Device, DeviceFacts | None]:
    """Store a device under a name once it has answered; the device and its facts.

    Args:
        name: of the device.
        bundle: a folder for bundles, of a device without a link.
        kind: of the device; empty for the kind that it reports.
        python: the interpreter on the device; empty for the transport's usual one.
        root: the folder on the device for our files; empty for the transport's own.
        settings: the address by the name of its transport, such as `ssh="me@host"`, and the other
            options of that transport.

    Raises:
        UsageError: not exactly one address, an unknown setting, or a name or kind that is not
            allowed.
        DeviceError: it does not answer, or cannot be verified.
    """
    addresses, options = _split(settings)
    _check_addresses(name, addresses, bundle)
    _check_options("bundle" if bundle else next(iter(addresses)), options)
    if kind and kind not in DEVICE_KINDS:
        raise unknown_name("kind of device", kind, DEVICE_KINDS)
    if bundle and kind not in ("", "iphone"):
        raise UsageError(
            "only an iPhone or a Mac is measured by a bundle", "Reach it by --ssh or --adb"
        )
    if root and not root.startswith("/"):
        raise UsageError(f"--root {root} is not absolute", "Give a path that begins with /")
    own_kind = _scripted_kind(next(iter(addresses), ""), kind, python, root)
    registry.check_name(name, own_kind)
    fields: dict[str, Any] = {"name": name, "root": root, "bundle": bundle}
    for transport, address in addresses.items():
        fields |= transports()[transport].new_device_fields(address, options)
    fields |= {"python": python} if python else {}
    device = Device(kind=own_kind or kind or ("iphone" if bundle else "linux"), **fields)
    facts = None if bundle else device_facts(device)
    if facts and not kind:
        device = device.model_copy(update={"kind": facts.kind})
    registry.store_device(device)
    return device, facts


def device_facts(device: Device) -> DeviceFacts | None:
    """The present facts of a device; None of a page that a person has to open first.

    Raises:
        MissingDependencyError: a package that is needed to reach it is not installed.
        DeviceError: it does not answer.
    """
    if device.kind in SCRIPTED:
        from edgenext.devices.javascript.bench import probe

        return probe(device)
    with registry.link_to(device) as link:
        return link.probe(device.python)


def _scripted_kind(transport: str, kind: str, python: str, root: str) -> str:
    """The kind of a device that runs JavaScript, by its transport; empty for others.

    Raises:
        UsageError: another kind is given, or an option of devices with a shell.
    """
    row = transports().get(transport)
    if row is None or row.open_channel:
        if kind in SCRIPTED:
            flags = " or ".join(f"--{t.name}" for t in transports().values() if kind in t.kinds)
            raise UsageError(f"a device of kind {kind} is reached in another way", f"Use {flags}")
        return ""
    (own,) = row.kinds
    for flag, value in {"--python": python, "--root": root}.items():
        if value:
            raise UsageError(f"a device of kind {own} takes no {flag}", "Leave it out")
    if kind not in ("", own):
        raise UsageError(f"--{transport} adds a device of kind {own}", f"Leave out --kind {kind}")
    return own


def _split(
    settings: Mapping[str, str | bool],
) -> tuple[dict[str, str], dict[str, str]]:
    """Addresses by transport, empty for a flag, and the transports' other options by name.

    Raises:
        UsageError: no transport has such a setting.
    """
    known = transports()
    options = {option.name for transport in known.values() for option in transport.options}
    for setting in settings:
        if setting not in known and setting not in options:
            raise unknown_name("setting of a device", setting, (*known, *options))
    texts = {name: "" if value is True else str(value) for name, value in settings.items() if value}
    return (
        {name: text for name, text in texts.items() if name in known},
        {name: text for name, text in texts.items() if name in options},
    )


def _check_addresses(name: str, addresses: Mapping[str, object], bundle: str) -> None:
    """Refuse a device with no address or with several.

    Raises:
        UsageError: as above.
    """
    chosen = [f"--{transport}" for transport in addresses] + ["--bundle"] * bool(bundle)
    if len(chosen) != 1:
        flags = (*(f"--{transport}" for transport in transports()), "--bundle")
        raise UsageError(
            f"{' and '.join(chosen) or 'no address'} given for {name}",
            f"Give one of {', '.join(flags)}",
        )


def _check_options(transport: str, options: Mapping[str, str]) -> None:
    """Refuse options of another transport.

    Raises:
        UsageError: as above.
    """
    others = [
        option.spelling
        for name, other in sorted(transports().items())
        for option in other.options
        if option.name in options and name != transport
    ]
    if others:
        raise UsageError(
            f"a device reached by --{transport} takes no {' or '.join(others)}",
            f"Leave {'them' if others[1:] else 'it'} out",
        )
