"""Private environments: named by locks, created once, able to import this package."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgenext.errors import MissingDependencyError, OutputError, UsageError
from edgenext.system import environments


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for environments."""
    monkeypatch.setenv("EDGENEXT_ENVIRONMENTS", str(tmp_path / "environments"))
    return tmp_path / "environments"


def set_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Give the environment `tflite` another lock."""
    lock = tmp_path / "tflite.lock"
    lock.write_text(text)
    monkeypatch.setitem(environments.LOCKS, "tflite", lock)


def test_environments_are_named_by_their_locks(folder: Path) -> None:
    assert environments.NAMES == ("node", "rknn", "tensorflow", "tflite", "web")
    assert environments.interpreter("tflite") is None
    with pytest.raises(UsageError, match="Did you mean tflite"):
        environments.folder("tflit")


SIX = """\
six==1.16.0 \\
    --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254
"""


def test_locks_pin_everything_with_hashes() -> None:
    assert tuple(sorted((*environments.LOCKS, *environments.NPM_LOCKS))) == environments.NAMES
    for lock in environments.LOCKS.values():
        text = lock.read_text()
        entries = re.sub(r"\s*\\\n\s+", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.M))
        assert entries
        for entry in entries.splitlines():
            assert re.fullmatch(r"[\w.-]+==\S+( --hash=sha256:[0-9a-f]{64})+", entry), entry
        assert len(environments.pinned(text).splitlines()) == len(entries.splitlines())


def test_another_lock_is_another_environment(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = environments.folder("tflite")
    set_lock(tmp_path, monkeypatch, SIX)
    other = environments.folder("tflite")
    assert other != before
    set_lock(tmp_path, monkeypatch, f"{SIX.rstrip()} \\\n    --hash=sha256:{64 * '0'}\n# six\n")
    assert environments.folder("tflite") == other  # the same packages


@pytest.mark.slow
def test_an_environment_is_created_once_and_imports_this_package(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_lock(tmp_path, monkeypatch, SIX)
    python = environments.make("tflite")
    assert environments.make("tflite") == environments.interpreter("tflite") == python
    assert environments.python_for("no_such_package", "tflite") == str(python)
    code = "import six, edgenext.errors; print(edgenext.errors.__file__)"
    with environments.importable_package() as variables:
        process = subprocess.run(
            [str(python), "-c", code], env=variables, capture_output=True, text=True, check=True
        )
        assert Path(process.stdout.strip()).resolve() == Path(
            sys.modules["edgenext.errors"].__file__ or ""
        )
        other = [str(python), "-c", "import torch"]
        assert subprocess.run(other, env=variables, capture_output=True, check=False).returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lock", "reason"),
    [
        (SIX.replace("8abb", "8abc"), "(?i)hash"),
        pytest.param("six==1.16.0\n", "(?i)hash", marks=pytest.mark.campaign),
        pytest.param(
            SIX.replace("six==", "no-such-package-of-any-name=="),
            "no-such-package-of-any-name",
            marks=pytest.mark.campaign,
        ),
    ],
    ids=["another hash", "no hash", "no package"],
)
def test_a_failed_installation_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str, reason: str
) -> None:
    set_lock(tmp_path, monkeypatch, lock)
    with pytest.raises(OutputError, match=reason):
        environments.make("tflite")
    assert list(folder.iterdir()) == []


def test_the_interpreter_for_a_package(folder: Path) -> None:
    assert environments.python_for("", "tflite") == sys.executable
    assert environments.python_for("numpy", "tflite") == sys.executable
    with pytest.raises(MissingDependencyError, match="edgenext env tflite"):
        environments.python_for("no_such_package", "tflite")
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgenext\[coreml\]'"):
        environments.python_for("no_such_package", "coreml")


def test_a_folder_of_a_packages_name_is_not_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rknn").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EDGENEXT_ENVIRONMENTS", str(tmp_path / "none"))
    with pytest.raises(MissingDependencyError, match="rknn needs the package rknn"):
        environments.python_for("rknn", "rknn")
