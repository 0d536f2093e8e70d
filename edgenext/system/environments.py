"""Private environments for converters that cannot share one.

Each has a lock, `<name>.lock` in its format's folder, with every package pinned. It is made once, in the cache,
under the lock's hash; this package is not installed there but lent, so that both always agree.
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
from tempfile import TemporaryDirectory

from edgenext.errors import MissingDependencyError, OutputError, unknown_name
from edgenext.system.files import cache_folder

LOCKS = {
    lock.name.removesuffix(".lock"): lock
    for folder in resources.files("edgenext.formats").iterdir()
    if folder.is_dir()
    for lock in folder.iterdir()
    if lock.name.endswith(".lock")
}
"""Locks by the names of their environments."""

NAMES = tuple(sorted(LOCKS))

DONE = ".complete"
"""A file in an environment whose installation has ended well."""


def folder(name: str) -> Path:
    """Where the environment of a name is, or would be made: $EDGENEXT_ENVIRONMENTS or the cache.

    Raises:
        UsageError: no such environment.
    """
    if name not in NAMES:
        raise unknown_name("environment", name, NAMES)
    digest = hashlib.sha256(LOCKS[name].read_bytes() + sys.version.encode()).hexdigest()[:12]
    root = os.environ.get("EDGENEXT_ENVIRONMENTS") or cache_folder("environments")
    return Path(root) / f"{name}-{digest}"


def interpreter(name: str) -> Path | None:
    """The Python of an environment, None while it has not been made."""
    where = folder(name)
    return _python(where) if (where / DONE).is_file() else None


def make(name: str) -> Path:
    """Make an environment, if it is not there; its Python.

    Raises:
        UsageError: no such environment.
        OutputError: it cannot be installed; nothing is left behind.
    """
    where = folder(name)
    if (where / DONE).is_file():
        return _python(where)
    shutil.rmtree(where, ignore_errors=True)
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        _call(sys.executable, "-m", "venv", str(where))
        with resources.as_file(LOCKS[name]) as file:
            _call(str(_python(where)), "-m", "pip", "install", "--quiet", "-r", str(file))
        (where / DONE).touch()
    except OSError as e:
        raise OutputError(f"cannot make the environment {where}: {e.strerror or e}") from e
    finally:
        if not (where / DONE).is_file():
            shutil.rmtree(where, ignore_errors=True)
    return _python(where)


def python_for(package: str, name: str) -> str:
    """An interpreter that has a package: this one, or that of the environment of that name.

    No package is one that every interpreter has.

    Raises:
        MissingDependencyError: neither has it.
    """
    if not package or importlib.util.find_spec(package) is not None:
        return sys.executable
    private = interpreter(name) if name in NAMES else None
    if private is not None:
        return str(private)
    remedy = (
        f"Make it an environment of its own: edgenext env {name}"
        if name in NAMES
        else f"Install it: pip install 'edgenext[{name}]'"
    )
    raise MissingDependencyError(f"{name} needs the package {package}", remedy)


@contextmanager
def lent_package() -> Iterator[dict[str, str]]:
    """Environment variables with which another interpreter finds this package, and it alone."""
    package = Path(str(resources.files("edgenext")))
    with TemporaryDirectory(prefix="edgenext-") as path:
        Path(path, "edgenext").symlink_to(package, target_is_directory=True)
        yield os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _python(where: Path) -> Path:
    return where / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        why = next((x for x in reversed(lines) if "ERROR" in x), lines[-1] if lines else "")
        raise OutputError(f"{' '.join(command[:4])} failed: {why}", "See whether pip can install")
