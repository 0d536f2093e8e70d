"""Adding a device: it is asked who it is, and proves it."""

from __future__ import annotations

import sys

from edgenext.devices import registry
from edgenext.devices.transports.ssh import host_key_of, known_host
from edgenext.errors import DeviceError, UsageError, unknown_name
from edgenext.schema import Device, DeviceFacts


def add(
    name: str,
    *,
    ssh: str = "",
    adb: str = "",
    bundle: str = "",
    local: bool = False,
    kind: str = "",
    identity: str = "",
    fingerprint: str = "",
    python: str = "",
    root: str = "",
) -> tuple[Device, DeviceFacts | None]:
    """Keep a device under a name, once it has answered; the facts are those it told.

    Raises:
        UsageError: not exactly one way to it, or a name or kind that cannot be.
        DeviceError: it does not answer, or its host key is not known to be right.
    """
    ways = {"--ssh": ssh, "--adb": adb, "--bundle": bundle, "--local": local}
    given = [way for way, value in ways.items() if value]
    if len(given) != 1:
        said = " and ".join(given) or "no way to it"
        raise UsageError(f"{said} given for {name}", f"Give one of {', '.join(ways)}")
    if kind and kind not in registry.KINDS:
        raise unknown_name("kind of device", kind, registry.KINDS)
    if bundle and kind not in ("", "iphone"):
        raise UsageError(
            "only an iPhone or a Mac is measured by a bundle", "Reach it by --ssh or --adb"
        )
    if root and not root.startswith("/"):
        raise UsageError(f"--root {root} is not absolute", "Begin it with /")
    registry.check_name(name)
    device = Device(
        name=name,
        kind=kind or ("iphone" if bundle else "linux"),
        ssh=ssh,
        adb=adb,
        bundle=bundle,
        local=local,
        host_key=proven_key(ssh, fingerprint) if ssh else "",
        identity=identity,
        python=python or (sys.executable if local else "python3"),
        root=root,
    )
    if bundle:
        registry.add(device)
        return device, None
    with registry.transport_for(device) as link:
        facts = link.probe(device.python)
    if not kind:
        device = device.model_copy(update={"kind": facts.kind})
    registry.add(device)
    return device, facts


def proven_key(address: str, fingerprint: str) -> str:
    """The host key of an address, if the fingerprint or ~/.ssh/known_hosts says that it is right.

    Raises:
        DeviceError: neither does.
    """
    key, shown = host_key_of(address)
    if fingerprint:
        if fingerprint != shown:
            raise DeviceError(
                f"ssh {address} shows the host key {shown}, not {fingerprint}",
                "It is another machine, or was set up again: find out before you go on",
            )
        return key
    known = known_host(address, key)
    if known:
        return key
    if known is False:
        raise DeviceError(
            f"ssh {address} shows another host key ({shown}) than ~/.ssh/known_hosts has",
            "It is another machine, or was set up again: find out before you go on",
        )
    raise DeviceError(
        f"the host key of ssh {address} is not known ({shown})",
        f"Compare it with `ssh-keygen -lf` on the device, then add --host-key {shown}",
    )
