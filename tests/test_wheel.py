"""The wheel: what is in it, and that it works in an empty environment, outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import edgenext

ROOT = Path(__file__).parents[1]
PIPX = Path(sys.prefix, "tools", "bin", "pipx")
CONSTRAINTS = ("--constraint", str(ROOT / "constraints.txt"), "--quiet")
# exactly the build that the constraints name: another could be that for CUDA, of some gigabytes
PACKAGES = ("torch==2.13.0",)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="no hatchling (it comes with `make demo`)")
    folder = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("edgenext-*.whl")
    return path


def test_it_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    package = ROOT / "edgenext"
    files = (path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    expected = {path.relative_to(ROOT).as_posix() for path in files}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    about = f"edgenext-{edgenext.__version__}.dist-info/"
    assert {name for name in names if not name.startswith(about)} == expected
    assert about + "licenses/LICENSE" in names
    assert {"edgenext/py.typed", "edgenext/commands/demo.toml"} <= names
    assert {Path(name).suffix for name in names} >= {".toml", ".css", ".html", ".lock", ".sh"}


def pip(wheel: Path, folder: Path) -> Path:
    """Install with pip into a new virtual environment; its command."""
    subprocess.run((sys.executable, "-m", "venv", folder / "venv"), check=True)
    python = folder / "venv" / "bin" / "python"
    install = (python, "-m", "pip", "install", *CONSTRAINTS, *PACKAGES, wheel)
    subprocess.run(install, check=True, cwd=folder)
    return python.with_name("edgenext")


def pipx(wheel: Path, folder: Path) -> Path:
    """Install with pipx; its command."""
    if not PIPX.is_file():
        pytest.skip(f"no pipx at {PIPX} (`make .venv/tools` brings it)")
    home = {"PIPX_HOME": str(folder / "pipx"), "PIPX_BIN_DIR": str(folder / "bin")}
    words = (PIPX, "install", "--python", sys.executable, "--pip-args", " ".join(CONSTRAINTS))
    preinstall = [word for package in PACKAGES for word in ("--preinstall", package)]
    subprocess.run((*words, *preinstall, wheel), check=True, cwd=folder, env=os.environ | home)
    return folder / "bin" / "edgenext"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path)  # more than a gigabyte


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("install", [pip, pipx])
def test_the_demo_runs_from_it(
    install: Callable[[Path, Path], Path], wheel: Path, folder: Path
) -> None:
    command = install(wheel, folder)
    unset = ("PYTHONPATH", "EDGENEXT_CACHE", "EDGENEXT_ENVIRONMENTS")
    env = {name: value for name, value in os.environ.items() if name not in unset}
    env |= {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONWARNINGS": "error"}

    def run(*words: str) -> str:
        done = subprocess.run(
            (command, *words), cwd=folder, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--version") == f"edgenext {edgenext.__version__}\n"
    doctor = run("doctor")
    assert "pip install 'edgenext[coreml]'" in doctor
    assert any(line.split()[:2] == ["onnx", "ready"] for line in doctor.splitlines())
    out = run("demo", "--epochs", "1", "--limit", "60", "--out", "first")
    assert "first/report.html" in out.splitlines()
    assert (folder / "first" / "report.html").stat().st_size > 100_000
    assert run("verify", "first")
    run("demo", "--toml", "mine.toml")
    done = {path.name for path in folder.iterdir()} - {"venv", "pipx", "bin"}
    assert done == {"cache", "first", "mine.toml"}
