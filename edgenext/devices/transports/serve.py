"""A browser anywhere as a device: a person opens the page there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgenext.devices.transport import Transport, TransportOption
from edgenext.errors import UsageError
from edgenext.schema import Device
from edgenext.system.environments import require_modules

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 - only with --lan
MOST = 65535


def device_fields(_address: str, options: Mapping[str, str]) -> dict[str, Any]:
    """The address and port to serve at; port 0 is any that is free.

    Raises:
        UsageError: the port is not one.
    """
    port = options.get("port", "0")
    if not (port.isascii() and port.isdigit() and int(port) <= MOST):
        raise UsageError(f"--port {port} is not a port", f"Use 1 to {MOST}")
    return {"links": {"serve": f"{EVERYWHERE if 'lan' in options else LOOPBACK}:{int(port)}"}}


def address_of(device: Device) -> tuple[str, int]:
    """Where the page of a device is served: host and port."""
    host, _, port = device.links["serve"].partition(":")
    return host, int(port)


TRANSPORT = Transport(
    name="serve",
    help="Any browser: the page is served here, and you open it there.",
    open_channel=None,
    kinds=("web",),
    options=(
        TransportOption("lan", "Serve to the network, not to this machine alone.", is_switch=True),
        TransportOption("port", "Port to serve at; default: any that is free."),
    ),
    device_fields=device_fields,
    library=lambda: require_modules("web"),
)
