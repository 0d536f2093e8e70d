"""A virtual environment for each set of pinned packages, made once."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

COMPLETE = ".complete"
"""Name of the file that marks an environment as completely installed."""


class InstallError(Exception):
    """The packages of an environment cannot be installed; the message is pip's own last line."""


def environment_python(root: Path, name: str, packages: Sequence[str]) -> Path:
    """The interpreter of an environment, which is made first unless it is there.

    Args:
        root: folder of the environments.
        name: how its folder's name begins; the rest is a hash of the packages.
        packages: requirements for pip; torch first, so that its build for CPUs is kept.

    Raises:
        InstallError: pip cannot install them; nothing is left behind.
    """
    digest = hashlib.sha256("\n".join((*packages, sys.version)).encode()).hexdigest()[:12]
    folder = root / f"{name}-{digest}"
    python = folder / "bin" / "python"
    if (folder / COMPLETE).is_file():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        subprocess.run((sys.executable, "-m", "venv", str(folder)), check=True)
        torch = [package for package in packages if package.startswith("torch==")]
        for group in filter(None, (torch, packages)):
            _install(python, group)
        (folder / COMPLETE).touch()
    finally:
        if not (folder / COMPLETE).is_file():
            shutil.rmtree(folder, ignore_errors=True)
    return python


def _install(python: Path, packages: Sequence[str]) -> None:
    command = (str(python), "-m", "pip", "install", "--quiet", *packages)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise InstallError(lines[-1] if lines else f"pip ended with {done.returncode}")


def installed_versions(python: Path) -> dict[str, str]:
    """All packages of an environment and their versions."""
    command = (str(python), "-m", "pip", "list", "--format", "json")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {row["name"]: row["version"] for row in json.loads(done.stdout)}
