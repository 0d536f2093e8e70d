"""Private environments: of converters that cannot share this one, and of JavaScript.

A converter's has a lock file, `<name>.lock` in its format's folder, that pins every package, with
the sha256 of each of its files: pip installs nothing else. Beside it, `<name>.cuda` has what torch
needs too where its only build is that for CUDA. This package is not installed there but put on the
interpreter's path, so that both always run the same version of it. What browsers and Node run has
a folder with npm's lock. An environment is created once, in the cache, under a hash of its pins.
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
from importlib.metadata import packages_distributions
from pathlib import Path

from edgenext.errors import MissingDependencyError, OutputError, unknown_name
from edgenext.system import npm
from edgenext.system.files import cache_folder
from edgenext.system.locks import hold_file
from edgenext.system.temporary import scratch_folder

LOCKS = {
    lock.name.removesuffix(".lock"): lock
    for folder in resources.files("edgenext.formats").iterdir()
    if folder.is_dir()
    for lock in folder.iterdir()
    if lock.name.endswith(".lock")
}
"""Lock files of Python environments by name."""

NPM_LOCKS = {
    folder.name: folder
    for folder in resources.files("edgenext.devices").joinpath("javascript", "packages").iterdir()
}
"""Folders with the locks of JavaScript environments, by name."""

NAMES = tuple(sorted((*LOCKS, *NPM_LOCKS)))

COMPLETE = ".complete"
"""Name of the file that marks an environment as completely installed."""


def folder(name: str) -> Path:
    """The folder of an environment, existing or not: in $EDGENEXT_ENVIRONMENTS or the cache.

    Raises:
        UsageError: no such environment.
    """
    if name not in NAMES:
        raise unknown_name("environment", name, NAMES)
    if name in LOCKS:
        pins = pinned(LOCKS[name].read_text("utf-8")) + sys.version
    else:
        pins = (NPM_LOCKS[name] / "package-lock.json").read_text("utf-8")
    digest = hashlib.sha256(pins.encode()).hexdigest()[:12]
    root = os.environ.get("EDGENEXT_ENVIRONMENTS") or cache_folder("environments")
    return Path(root) / f"{name}-{digest}"


def pinned(lock: str) -> str:
    """The packages and versions of a lock, a line each, without the hashes of their files.

    More hashes allow another file of the same version, so the environment stays what it is.
    """
    lines = (line.split("#")[0].split() for line in lock.splitlines())
    return "".join(f"{words[0]}\n" for words in lines if words and "==" in words[0])


def interpreter(name: str) -> Path | None:
    """What an environment is used by; None if the environment does not exist yet.

    It is the environment's Python, or the folder `node_modules` of a JavaScript one.

    Raises:
        UsageError: no such environment.
    """
    environment = folder(name)
    return _entry(name, environment) if (environment / COMPLETE).is_file() else None


def require_modules(name: str) -> Path:
    """The folder `node_modules` of a JavaScript environment.

    Raises:
        MissingDependencyError: the environment does not exist yet.
    """
    modules = interpreter(name)
    if modules is None:
        install = "Install them" if npm.is_installed() else "Install npm, then"
        raise MissingDependencyError(
            f"the JavaScript packages of {name} are not installed",
            f"{install}: edgenext env {name}",
        )
    return modules


def make(name: str) -> Path:
    """Create an environment unless it exists.

    Returns:
        What it is used by: see `interpreter`.

    Raises:
        UsageError: no such environment.
        MissingDependencyError: npm is needed and not installed.
        OutputError: it cannot be installed, and nothing is left behind; or another process is
            installing it.
    """
    environment = folder(name)
    if (environment / COMPLETE).is_file():
        return _entry(name, environment)
    try:
        environment.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(f"cannot create the environment {environment}: {e.strerror or e}") from e
    lock = environment.with_name(f".{environment.name}.lock")
    with hold_file(lock, f"the environment {name} is being created"):
        if not (environment / COMPLETE).is_file():  # nor by another process meanwhile
            _make(name, environment)
    return _entry(name, environment)


def _make(name: str, environment: Path) -> None:
    """Create an environment that this process holds."""
    shutil.rmtree(environment, ignore_errors=True)
    try:
        if name in NPM_LOCKS:
            npm.install(NPM_LOCKS[name], environment)
        else:
            _make_python(name, environment)
        (environment / COMPLETE).touch()
    except OSError as e:
        raise OutputError(f"cannot create the environment {environment}: {e.strerror or e}") from e
    finally:
        if not (environment / COMPLETE).is_file():
            shutil.rmtree(environment, ignore_errors=True)


def _make_python(name: str, environment: Path) -> None:
    """Create a Python environment and install its lock."""
    _run(sys.executable, "-m", "venv", str(environment))
    with resources.as_file(LOCKS[name]) as lock:
        _install(_python(environment), lock)
        cuda = lock.with_suffix(".cuda")
        if cuda.is_file() and _needs_cuda(_python(environment)):
            _install(_python(environment), cuda)


def python_for(package: str, name: str) -> str:
    """An interpreter that has a package: this one, or that of a private environment.

    Args:
        package: the package to import; every interpreter has the empty name.
        name: the environment to look in; if there is none of that name, the extra to install.

    Raises:
        MissingDependencyError: neither has it.
    """
    if not package or _is_installed(package):
        return sys.executable
    private = interpreter(name) if name in LOCKS else None
    if private is not None:
        return str(private)
    remedy = (
        f"Create its private environment: edgenext env {name}"
        if name in LOCKS
        else f"Install it: pip install 'edgenext[{name}]'"
    )
    raise MissingDependencyError(f"{name} needs the package {package}", remedy)


def _is_installed(package: str) -> bool:
    """Whether this interpreter has a package; a mere folder of its name on the path is none."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin:
        return spec is not None
    return package in packages_distributions()  # one without an `__init__.py`


@contextmanager
def importable_package() -> Iterator[dict[str, str]]:
    """Environment variables that let another interpreter import this package, and only this one."""
    package = Path(str(resources.files("edgenext")))
    with scratch_folder() as path:
        (path / "edgenext").symlink_to(package, target_is_directory=True)
        yield os.environ | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}


def _entry(name: str, environment: Path) -> Path:
    return environment / npm.MODULES if name in NPM_LOCKS else _python(environment)


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _install(python: Path, lock: Path) -> None:
    """Install the packages of a lock, which are complete, from files with the hashes in it."""
    options = ("--quiet", "--no-deps", "--require-hashes", "-r", str(lock))
    _run(str(python), "-m", "pip", "install", *options)


CUDA_BUILD = """
import importlib.metadata, sys
try:
    plain = "+" not in importlib.metadata.version("torch")
except importlib.metadata.PackageNotFoundError:
    plain = False
sys.exit(sys.platform == "linux" and plain)
"""
"""Fails where torch is the build for CUDA, which cannot be imported without CUDA's libraries."""


def _needs_cuda(python: Path) -> bool:
    command = (str(python), "-c", CUDA_BUILD)
    return subprocess.run(command, capture_output=True, check=False).returncode == 1


def _run(*command: str) -> None:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        lines = [line for line in process.stderr.splitlines() if line.strip()]
        reason = next((x for x in reversed(lines) if "ERROR" in x), lines[-1] if lines else "")
        raise OutputError(
            f"{' '.join(command[:4])} failed: {reason}", "Check that pip can install packages"
        )
