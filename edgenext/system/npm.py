"""JavaScript packages: what a package-lock.json pins, installed by npm."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

from edgenext.errors import MissingDependencyError, OutputError

FILES = ("package.json", "package-lock.json")
"""What npm installs from: the packages that are wanted, and all that they need with its hash."""
MODULES = "node_modules"
"""The folder that npm installs packages into."""
OPTIONS = (
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--loglevel=error",
)
"""Nothing of a package is run, and nothing is asked of the registry but the packages."""


def is_installed() -> bool:
    """Whether there is an npm on the path."""
    return shutil.which("npm") is not None


def require_npm() -> str:
    """The path of npm.

    Raises:
        MissingDependencyError: it is not installed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise MissingDependencyError(
            "npm is not installed",
            "Install Node.js with npm: https://nodejs.org, or apt install npm",
        )
    return npm


def install(lock: Traversable, folder: Path) -> None:
    """Install the packages of a lock, each with the hash in it, into `node_modules` of a folder.

    Args:
        lock: the folder that has `FILES`.
        folder: a new one is made; the caller removes it where the installation fails.

    Raises:
        MissingDependencyError: npm is not installed.
        OutputError: npm failed; the message has the reason that it gives.
        OSError: the folder cannot be written.
    """
    npm = require_npm()
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_bytes((lock / name).read_bytes())
    process = subprocess.run(
        (npm, "ci", *OPTIONS), cwd=folder, capture_output=True, text=True, check=False
    )
    if process.returncode != 0:
        reason = "; ".join(_reasons(process.stderr)) or f"exit code {process.returncode}"
        raise OutputError(f"npm ci failed: {reason}", "Check that npm can install packages")


def _reasons(output: str) -> Iterator[str]:
    """The error code of npm and the first line that explains it."""
    lines = [line.removeprefix("npm error").strip() for line in output.splitlines()]
    for line in [line for line in lines if line][:2]:
        yield " ".join(line.split()).rstrip(".")
