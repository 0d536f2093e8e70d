"""JavaScript environments: pinned by hashes, installed whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgenext.errors import MissingDependencyError, OutputError
from edgenext.system import environments

WEB = environments.NPM_LOCKS["web"]
LONG = "sha512-" + 86 * "A" + "=="
"""The hash of another file."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for environments."""
    monkeypatch.setenv("EDGENEXT_ENVIRONMENTS", str(tmp_path / "environments"))
    return tmp_path / "environments"


def set_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, integrity: str = "", version: str = "1.3.6"
) -> None:
    """Give the environment `web` a lock with one small package."""
    lock = json.loads((WEB / "package-lock.json").read_text())
    package = lock["packages"]["node_modules/platform"] | {"version": version}
    if integrity:
        package["integrity"] = integrity
    root = {"name": "tests", "dependencies": {"platform": version}}
    packages = {"": root, "node_modules/platform": package}
    tmp_path.joinpath("package.json").write_text(json.dumps(root))
    tmp_path.joinpath("package-lock.json").write_text(
        json.dumps(lock | {"name": "tests", "packages": packages})
    )
    monkeypatch.setitem(environments.NPM_LOCKS, "web", tmp_path)


@pytest.mark.parametrize("name", sorted(environments.NPM_LOCKS))
def test_locks_pin_everything_with_hashes(name: str) -> None:
    lock = json.loads((environments.NPM_LOCKS[name] / "package-lock.json").read_text())
    wanted = json.loads((environments.NPM_LOCKS[name] / "package.json").read_text())
    packages = lock["packages"]
    assert packages.pop("")["dependencies"] == wanted["dependencies"]
    assert all(version[0].isdigit() for version in wanted["dependencies"].values())
    for path, package in packages.items():
        assert package["integrity"].startswith("sha512-"), path


def test_a_failure_leaves_nothing_and_a_success_is_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("npm") is None:
        pytest.skip("no npm (apt install npm)")
    with pytest.raises(MissingDependencyError, match="edgenext env web"):
        environments.require_modules("web")
    set_lock(tmp_path, monkeypatch, integrity=LONG)
    with pytest.raises(OutputError, match=r"npm ci failed: .*EINTEGRITY"):
        environments.make("web")
    assert list(folder.iterdir()) == []
    set_lock(tmp_path, monkeypatch)
    modules = environments.make("web")
    assert modules == environments.make("web") == environments.require_modules("web")
    assert (modules / "platform" / "package.json").is_file()
    first = environments.folder("web")
    set_lock(tmp_path, monkeypatch, version="1.3.5")
    assert environments.folder("web") != first


def test_no_npm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(MissingDependencyError, match="npm is not installed"):
        environments.make("web")
    assert list(folder.iterdir()) == []
