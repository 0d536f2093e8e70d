"""Node on this machine as a device."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgenext.devices.transport import Transport
from edgenext.errors import DeviceError
from edgenext.system.environments import require_modules

DEFAULT = "node"


def library() -> Path:
    """The path of Node, where its packages are there too.

    Raises:
        MissingDependencyError: the JavaScript packages are not installed.
        DeviceError: there is no Node.
    """
    node = find_node(DEFAULT)
    require_modules("node")
    return node


def find_node(address: str) -> Path:
    """The program of Node.

    Args:
        address: a path, or a program's name.

    Raises:
        DeviceError: it is not installed.
    """
    program = shutil.which(address)
    if program is None:
        raise DeviceError(f"there is no {address}", "Install Node.js: apt install nodejs")
    return Path(program).absolute()


def device_fields(address: str, _options: Mapping[str, str]) -> dict[str, Any]:
    """Node's path; `node` stays a name.

    Raises:
        DeviceError: it is not installed.
    """
    program = find_node(address)
    return {"links": {"node": address if address == DEFAULT else str(program)}}


TRANSPORT = Transport(
    name="node",
    help="Node.js on this machine: node, or its path.",
    open_channel=None,
    example="node",
    kinds=("node",),
    device_fields=device_fields,
    library=library,
)
