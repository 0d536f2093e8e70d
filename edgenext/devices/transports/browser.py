"""A browser of this machine as a device: Chromium, or one that is made of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgenext.devices.transport import Transport
from edgenext.errors import DeviceError, UsageError
from edgenext.system.environments import require_modules

DEFAULT = "chromium"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
"""Programs that `chromium` stands for, in this order."""
MAC_PATHS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
OTHERS = ("firefox", "safari", "webkit", "epiphany")
"""Browsers whose page a person has to open: there is no way to start them for one page only."""


def playwright() -> Any:
    """The `playwright.async_api` module, imported.

    Raises:
        MissingDependencyError: it is not installed.
    """
    from edgenext.formats.session import needed

    with needed("playwright", "web"):
        from playwright import async_api
    return async_api


def library() -> Any:
    """Playwright, where a browser and its packages are there too.

    Raises:
        MissingDependencyError: Playwright or the JavaScript packages are not installed.
        DeviceError: there is no browser.
    """
    find_browser(DEFAULT)
    require_modules("web")
    return playwright()


def find_browser(address: str) -> Path:
    """The program of a browser.

    Args:
        address: a path, a program's name, or `chromium` for $EDGENEXT_CHROMIUM or any of `NAMES`.

    Raises:
        DeviceError: it is not installed.
    """
    names: tuple[str, ...] = (address,)
    if address == DEFAULT:
        chosen = os.environ.get("EDGENEXT_CHROMIUM")
        names = (chosen,) if chosen else (*NAMES, *MAC_PATHS)
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        raise DeviceError(
            "no Chromium is installed" if len(names) > 1 else f"there is no browser {names[0]}",
            "Install one: apt install chromium",
        )
    return Path(program).absolute()


def device_fields(address: str, _options: Mapping[str, str]) -> dict[str, Any]:
    """The browser's path; `chromium` stays a name, so that an update may move it.

    Raises:
        UsageError: it cannot be started for one page only.
        DeviceError: it is not installed.
    """
    if any(other in Path(address).name.lower() for other in OTHERS):
        raise UsageError(
            f"{address} cannot be driven: only Chromium and what is made of it can",
            "Open the page there yourself: --serve instead of --browser",
        )
    program = find_browser(address)
    return {"links": {"browser": address if address == DEFAULT else str(program)}}


TRANSPORT = Transport(
    name="browser",
    help="A browser of this machine: chromium, or the path of a Chrome or Edge.",
    open_channel=None,
    example="chromium",
    kinds=("web",),
    device_fields=device_fields,
    library=library,
)
