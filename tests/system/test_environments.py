from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgenext.errors import MissingDependencyError, OutputError, UsageError
from edgenext.system import environments


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGENEXT_ENVIRONMENTS", str(tmp_path / "environments"))
    return tmp_path / "environments"


def test_names_are_those_of_the_locks(elsewhere: Path) -> None:
    assert environments.NAMES == ("tensorflow", "tflite")
    assert environments.interpreter("tflite") is None
    with pytest.raises(UsageError, match="Did you mean tflite"):
        environments.folder("tflit")


def test_locks_pin_everything() -> None:
    for name in environments.NAMES:
        lines = environments.LOCKS.joinpath(f"{name}.txt").read_text().splitlines()
        assert lines and all("==" in line for line in lines)


def test_another_lock_is_another_environment(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = environments.folder("tflite")
    (tmp_path / "tflite.txt").write_text("six==1.16.0\n")
    monkeypatch.setattr(environments, "LOCKS", tmp_path)
    assert environments.folder("tflite") != before


@pytest.mark.slow
def test_an_environment_is_made_once_and_lends_this_package(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tflite.txt").write_text("six==1.16.0\n")
    monkeypatch.setattr(environments, "LOCKS", tmp_path)
    python = environments.make("tflite")
    assert environments.make("tflite") == environments.interpreter("tflite") == python
    assert environments.python_for("no_such_package", "tflite") == str(python)
    code = "import six, edgenext.errors; print(edgenext.errors.__file__)"
    with environments.lent_package() as variables:
        found = subprocess.run(
            [str(python), "-c", code], env=variables, capture_output=True, text=True, check=True
        )
        assert Path(found.stdout.strip()).resolve() == Path(
            sys.modules["edgenext.errors"].__file__ or ""
        )
        other = [str(python), "-c", "import torch"]
        assert subprocess.run(other, env=variables, capture_output=True, check=False).returncode


@pytest.mark.slow
def test_what_cannot_be_installed_leaves_nothing(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tflite.txt").write_text("no-such-package-of-any-name==1.0\n")
    monkeypatch.setattr(environments, "LOCKS", tmp_path)
    with pytest.raises(OutputError, match="no-such-package-of-any-name"):
        environments.make("tflite")
    assert list(elsewhere.iterdir()) == []


def test_where_a_package_is(elsewhere: Path) -> None:
    assert environments.python_for("numpy", "tflite") == sys.executable
    with pytest.raises(MissingDependencyError, match="edgenext env tflite"):
        environments.python_for("no_such_package", "tflite")
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgenext\[coreml\]'"):
        environments.python_for("no_such_package", "coreml")
