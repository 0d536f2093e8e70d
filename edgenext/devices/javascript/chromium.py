"""Chromium, started for one page, and watched until that is done."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from edgenext.devices.event_loop import EventLoop
from edgenext.devices.transports.browser import find_browser, playwright
from edgenext.errors import DeviceError

T = TypeVar("T")

START_S, END_S = 60.0, 10.0
"""The longest that a browser may take to start and load a page, and to end."""
OPTIONS = ("--disable-background-timer-throttling", "--disable-renderer-backgrounding")
"""A page without a window is not slowed down."""
MEASURE_AGAIN = "Measure again"


@dataclass(frozen=True)
class OpenPage:
    """A page of a browser that was started for it."""

    browser: str
    """Its name."""
    version: str
    others: frozenset[int]
    """This process's children that are not the browser's."""
    evaluate: Callable[[str], Any]
    """The value of an expression of JavaScript in the page; a promise's, once it has one."""

    def processes(self) -> tuple[int, ...]:
        """The browser's processes, as they are now."""
        return tuple(pid for pid in _children() if pid not in self.others)


@contextmanager
def open_page(address: str, url: str, fail: Callable[[DeviceError], None]) -> Iterator[OpenPage]:
    """A browser with one page, until the end of the block.

    Args:
        address: of a browser of this machine: see `find_browser`.
        url: of the page.
        fail: told, from another thread, that the page crashed or was closed.

    Raises:
        MissingDependencyError: Playwright is not installed.
        DeviceError: there is no such browser, or it does not start.
    """
    api, program = playwright(), find_browser(address)
    others = frozenset(_children())
    loop = EventLoop()
    driver = browser = None
    try:
        driver = _call(loop, api.async_playwright().start(), program)
        sandbox = os.geteuid() != 0 if hasattr(os, "geteuid") else True  # root can have none
        launched = driver.chromium.launch(
            executable_path=program,
            args=list(OPTIONS),
            chromium_sandbox=sandbox,
            handle_sigint=False,
            handle_sigterm=False,
            timeout=1000 * START_S,
        )
        browser = _call(loop, launched, program)
        page = _call(loop, _open(browser, url, fail), program)

        def evaluate(text: str) -> Any:
            return _call(loop, page.evaluate(text), program)

        yield OpenPage(_name(program), browser.version, others, evaluate)
    finally:
        fail_silently = contextlib.suppress(Exception)  # it may have crashed before
        for opened, end in ((browser, "close"), (driver, "stop")):
            with fail_silently:
                if opened:
                    loop.run(getattr(opened, end)(), END_S)
        loop.close()


async def _open(browser: Any, url: str, fail: Callable[[DeviceError], None]) -> Any:
    """Load the page, and watch it; Playwright's page."""
    page = await browser.new_page()
    crashed = "It may have run out of memory: close other programs, or measure fewer files"
    page.on("crash", lambda _: fail(DeviceError("the page crashed in the browser", crashed)))
    page.on("close", lambda _: fail(DeviceError("the page was closed", MEASURE_AGAIN)))
    browser.on("disconnected", lambda _: fail(DeviceError("the browser ended", MEASURE_AGAIN)))
    await page.goto(url, wait_until="load")
    return page


def _call(loop: EventLoop, coroutine: Coroutine[Any, Any, T], program: Path) -> T:
    """The result of a coroutine of Playwright.

    Raises:
        DeviceError: it failed, or took too long.
    """
    from playwright.async_api import Error

    try:
        return loop.run(coroutine, START_S)
    except TimeoutError as e:
        raise DeviceError(f"{program} gave no answer for {START_S:g} s", MEASURE_AGAIN) from e
    except (Error, OSError) as e:
        lines = [line.strip() for line in str(e).splitlines() if line.strip()]
        why = lines[0] if lines else type(e).__name__
        raise DeviceError(f"{program} cannot be started: {why}", "Does it open a page?") from e


def _name(program: Path) -> str:
    """The browser's name, from its program's."""
    known = {"chrome": "Chrome", "edge": "Edge", "brave": "Brave"}
    name = program.name.lower()
    return next((title for part, title in known.items() if part in name), "Chromium")


def _children() -> list[int]:
    return [process.pid for process in psutil.Process().children(recursive=True)]
