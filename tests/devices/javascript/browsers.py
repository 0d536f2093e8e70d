"""Browsers of this machine, and what they leave behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from edgenext.devices.transports.browser import DEFAULT, find_browser
from edgenext.devices.transports.node import find_node
from edgenext.errors import DeviceError
from edgenext.system import environments


def needs(name: str) -> Path:
    """The JavaScript packages of an environment; skips the test where they are not installed."""
    modules = environments.interpreter(name)
    if modules is None:
        pytest.skip(f"no environment of {name} (edgenext env {name})")
    return modules


def chromium() -> Path:
    """The browser; skips the test where there is none, or nothing to drive it or to run in it."""
    pytest.importorskip("playwright.async_api", reason="needs playwright")
    needs("web")
    try:
        return find_browser(DEFAULT)
    except DeviceError as e:
        pytest.skip(str(e))


def node() -> Path:
    """Node; skips the test where there is none, or nothing to run in it."""
    needs("node")
    try:
        return find_node("node")
    except DeviceError as e:
        pytest.skip(str(e))


def browser_with(folder: Path, *options: str) -> Path:
    """A program that starts the browser with more options."""
    words = " ".join(f"'{option}'" for option in options)
    program = folder / "chromium-with-options"
    program.write_text(f'#!/bin/sh\nexec {chromium()} {words} "$@"\n')
    program.chmod(0o755)
    return program


@contextmanager
def opened(url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A browser that somebody opened a page in, with a profile in a folder."""
    command = (
        *(str(chromium()), "--headless", "--no-first-run", f"--user-data-dir={folder}"),
        *("--remote-debugging-port=0", "--disable-gpu", *(["--no-sandbox"] * (os.geteuid() == 0))),
        url,
    )
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        end_tree(process.pid)
        process.wait()


def end_tree(pid: int) -> None:
    """Kill a process that a test started, and its children."""
    try:
        parent = psutil.Process(pid)
        children = parent.children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for process in (parent, *children):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(children, 10)


def own_processes() -> list[str]:
    """Command lines of this process's living children, beside those that pytest needs."""
    lines = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                lines.append(" ".join(child.cmdline()))
    return [line for line in lines if "chrom" in line or "node" in line or "playwright" in line]
