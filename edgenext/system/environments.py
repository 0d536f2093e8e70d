"""Private environments for converters that cannot share this one.

Each has a lock file, `<name>.lock` in its format's folder, that pins every package. An environment
is created once, in the cache, under a hash of its lock. This package is not installed there but put
on the interpreter's path, so that both always run the same version of it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from edgenext.errors import MissingDependencyError, OutputError, unknown_name
from edgenext.system.files import cache_folder
from edgenext.system.temporary import scratch_folder

LOCKS = {
    lock.name.removesuffix(".lock"): lock
    for folder in resources.files("edgenext.formats").iterdir()
    if folder.is_dir()
    for lock in folder.iterdir()
    if lock.name.endswith(".lock")
}
"""Lock files by environment name."""

NAMES = tuple(sorted(LOCKS))

COMPLETE = ".complete"
"""Name of the file that marks an environment as completely installed."""


def folder(name: str) -> Path:
    """The folder of an environment, existing or not: in $EDGENEXT_ENVIRONMENTS or the cache.

    Raises:
        UsageError: no such environment.
    """
    if name not in NAMES:
        raise unknown_name("environment", name, NAMES)
    digest = hashlib.sha256(LOCKS[name].read_bytes() + sys.version.encode()).hexdigest()[:12]
    root = os.environ.get("EDGENEXT_ENVIRONMENTS") or cache_folder("environments")
    return Path(root) / f"{name}-{digest}"


def interpreter(name: str) -> Path | None:
    """The Python of an environment; None if the environment does not exist yet.

    Raises:
        UsageError: no such environment.
    """
    environment = folder(name)
    return _python(environment) if (environment / COMPLETE).is_file() else None


def make(name: str) -> Path:
    """Create an environment unless it exists.

    Returns:
        Its Python.

    Raises:
        UsageError: no such environment.
        OutputError: it cannot be installed; nothing is left behind.
    """
    environment = folder(name)
    if (environment / COMPLETE).is_file():
        return _python(environment)
    shutil.rmtree(environment, ignore_errors=True)
    try:
        environment.parent.mkdir(parents=True, exist_ok=True)
        _run(sys.executable, "-m", "venv", str(environment))
        with resources.as_file(LOCKS[name]) as lock:
            _run(str(_python(environment)), "-m", "pip", "install", "--quiet", "-r", str(lock))
        (environment / COMPLETE).touch()
    except OSError as e:
        raise OutputError(f"cannot create the environment {environment}: {e.strerror or e}") from e
    finally:
        if not (environment / COMPLETE).is_file():
            shutil.rmtree(environment, ignore_errors=True)
    return _python(environment)


def python_for(package: str, name: str) -> str:
    """An interpreter that has a package: this one, or that of a private environment.

    Args:
        package: the package to import; every interpreter has the empty name.
        name: the environment to look in; if there is none of that name, the extra to install.

    Raises:
        MissingDependencyError: neither has it.
    """
    if not package or importlib.util.find_spec(package) is not None:
        return sys.executable
    private = interpreter(name) if name in NAMES else None
    if private is not None:
        return str(private)
    remedy = (
        f"Create its private environment: edgenext env {name}"
        if name in NAMES
        else f"Install it: pip install 'edgenext[{name}]'"
    )
    raise MissingDependencyError(f"{name} needs the package {package}", remedy)


@contextmanager
def importable_package() -> Iterator[dict[str, str]]:
    """Environment variables that let another interpreter import this package, and only this one."""
    package = Path(str(resources.files("edgenext")))
    with scratch_folder() as path:
        (path / "edgenext").symlink_to(package, target_is_directory=True)
        yield os.environ | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _run(*command: str) -> None:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        lines = [line for line in process.stderr.splitlines() if line.strip()]
        reason = next((x for x in reversed(lines) if "ERROR" in x), lines[-1] if lines else "")
        raise OutputError(
            f"{' '.join(command[:4])} failed: {reason}", "Check that pip can install packages"
        )
