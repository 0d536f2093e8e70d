"""Packages of unknown origin."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from edgenext import api
from edgenext.errors import ArtifactError, EdgenextError
from edgenext.formats.artifact import Artifact
from edgenext.package import archive

Make = Callable[..., Artifact]

pytestmark = pytest.mark.usefixtures("without_web")


@pytest.fixture
def package(make_artifact: Make, tmp_path: Path) -> Path:
    Image.new("RGB", (50, 40), "red").save(tmp_path / "red.png")
    api.package([make_artifact().path], out=tmp_path / "it.zip", image=tmp_path / "red.png")
    return tmp_path / "it.zip"


@pytest.mark.parametrize(
    "name",
    [
        "../outside.txt",
        "a/../../outside.txt",
        "/outside.txt",
        "..\\outside.txt",
        "C:/outside.txt",
        "..",
    ],
)
def test_no_file_is_written_outside(package: Path, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(package, "a") as zipped:
        zipped.writestr(name, "x")
    for command in (lambda: api.verify(package), lambda: api.predict(package, ["red.png"])):
        with pytest.raises(ArtifactError, match="is not a package: it has a file called"):
            command()
    assert not list(tmp_path.rglob("outside.txt"))


def test_links_doubles_and_bombs_are_refused(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = package.read_bytes()

    def refused(message: str) -> None:
        with pytest.raises(ArtifactError, match=message):
            api.verify(package)
        package.write_bytes(content)

    with zipfile.ZipFile(package, "a") as zipped:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "/etc/passwd")
    refused("it has a file called 'link'")
    with zipfile.ZipFile(package, "a") as zipped, pytest.warns(UserWarning, match="Duplicate"):
        zipped.writestr("LICENSE", "x")
    refused("it has 'LICENSE' twice")
    monkeypatch.setattr(archive, "MAX_BYTES", 1 << 20)
    with zipfile.ZipFile(package, "a", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("zeros", bytes(1 << 21))
    refused("when inflated")
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    refused("more than 3 files")
    monkeypatch.undo()
    package.write_bytes(content[: len(content) // 2])
    with pytest.raises(EdgenextError):
        api.verify(package)


@pytest.mark.parametrize(
    "text", ["{}", '{"image": "x", "files": {}}', '{"image": "x", "files": {"../it.zip": []}}']
)
def test_a_package_that_names_no_file(package: Path, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "folder"
    with zipfile.ZipFile(package) as zipped:
        zipped.extractall(folder)
    (folder / "expected.json").write_text(text)
    with pytest.raises(ArtifactError):
        api.predict(folder, [tmp_path / "red.png"])


def test_sums_name_no_file_outside(package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with zipfile.ZipFile(package) as zipped:
        zipped.extractall(folder)
    for name in ("../red.png", "/etc/passwd"):
        (folder / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
        (problem,) = api.verify(folder).problems
        assert (problem.file, problem.by) == ("SHA256SUMS", "its format")
