"""A browser to read reports in: Chromium, started once a session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgenext.devices.transports.browser import DEFAULT, find_browser
from edgenext.errors import DeviceError


@dataclass
class Reader:
    """A page of a browser, and everything that it complained of or asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path, *, width: int = 1100, dark: bool = False) -> Any:
        """Load a file and wait until it is complete."""
        self.page.set_viewport_size({"width": width, "height": 800})
        self.page.emulate_media(media="screen", color_scheme="dark" if dark else "light")
        self.page.goto(path.resolve().as_uri(), wait_until="load")
        return self.page


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    try:
        path = find_browser(DEFAULT)
    except DeviceError as e:
        pytest.skip(f"needs a browser: {e.message}")
    with sync_api.sync_playwright() as playwright:
        # without a sandbox of its own, as root in a container has none
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def reader(browser: Any) -> Iterator[Reader]:
    """A page that records errors and requests; either fails the test at its end."""
    context = browser.new_context()
    reader = Reader(context.new_page())
    page = reader.page
    page.on("console", lambda message: reader.complaints.append(message.text))
    page.on("pageerror", lambda error: reader.complaints.append(str(error)))
    page.on("request", lambda request: reader.requests.append(request.url))
    yield reader
    context.close()
    assert reader.complaints == []
    others = [url for url in reader.requests if not url.startswith(("file:", "data:"))]
    files = [url for url in reader.requests if url.startswith("file:")]
    assert others == []
    assert all(url.endswith(".html") for url in files), "a page is one file"
