"""Folders as artifacts: hashed, replaced as a whole, or left as they were."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgenext.errors import ArtifactError, OutputError
from edgenext.formats.artifact import (
    Artifact,
    content_sha256,
    content_size,
    new_artifact,
    open_artifact,
)
from edgenext.schema import EvalTransform, TensorSpec
from edgenext.system.files import publish, sha256_tree, staging, write_text
from edgenext.system.locks import hold
from edgenext.system.temporary import scratch_folder

ABOUT = {
    "format": "coreml",
    "scheme": "fp32",
    "form": "convT",
    "target": "coreml",
    "arch": "edgenext_xx_small",
    "num_classes": 10,
    "eval": EvalTransform(size=32),
    "input": TensorSpec(name="image", shape=(1, 3, 32, 32), dtype="float32"),
    "outputs": (TensorSpec(name="logits", shape=(1, 10), dtype="float32"),),
    "source": {},
    "tools": {},
}


def package(path: Path, text: str = "weights") -> None:
    (path / "Data").mkdir(parents=True)
    (path / "Manifest.json").write_text("{}")
    (path / "Data" / "weight.bin").write_text(text)


def make(path: Path, text: str = "weights") -> None:
    with new_artifact(path) as (staged, describe):
        package(staged, text)
        describe(ABOUT)


def test_a_folder_is_an_artifact(tmp_path: Path) -> None:
    path = tmp_path / "it.mlpackage"
    make(path)
    artifact = open_artifact(path)
    assert artifact.manifest.sha256 == sha256_tree(path)
    assert artifact.manifest.size_bytes == len("{}weights")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["it.mlpackage", "it.mlpackage.json"]


@pytest.mark.parametrize("change", ["content", "name", "added", "removed"])
def test_every_change_in_a_folder_changes_its_hash(tmp_path: Path, change: str) -> None:
    path = tmp_path / "it.mlpackage"
    make(path)
    inside = path / "Data" / "weight.bin"
    if change == "content":
        inside.write_text("weight5")
    elif change == "name":
        inside.rename(inside.with_name("other.bin"))
    elif change == "added":
        (path / "more").touch()
    else:
        inside.unlink()
    with pytest.raises(ArtifactError, match="is not the file of its manifest"):
        open_artifact(path)


def test_a_folder_replaces_an_older_one_completely(tmp_path: Path) -> None:
    path = tmp_path / "it.mlpackage"
    make(path)
    (path / "stray").touch()
    make(path, "new weights")
    assert not (path / "stray").exists()
    assert (path / "Data" / "weight.bin").read_text() == "new weights"
    assert not list(tmp_path.glob(".*"))


def test_a_failure_leaves_the_older_folder(tmp_path: Path) -> None:
    path = tmp_path / "it.mlpackage"
    make(path)
    with pytest.raises(RuntimeError), new_artifact(path) as (staged, _):
        package(staged, "half")
        raise RuntimeError
    assert (path / "Data" / "weight.bin").read_text() == "weights"
    assert not list(tmp_path.glob(".*"))


def test_a_file_where_a_folder_should_be_moves_nothing(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("older")
    with (
        pytest.raises(OutputError, match="cannot write"),
        staging(tmp_path / "b") as folder,
    ):
        (folder / "a").write_text("new")
        (folder / "b").mkdir()
        publish(folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b"]
    assert (tmp_path / "b").read_text() == "older"


def test_both_files_of_an_ir_count(tmp_path: Path) -> None:
    xml, weights = tmp_path / "it.xml", tmp_path / "it.bin"
    xml.write_text("<net/>")
    weights.write_bytes(b"1234")
    before = content_sha256(xml)
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (xml, weights)]
    assert before == hashlib.sha256(" ".join(digests).encode()).hexdigest()
    assert content_size(xml) == 10
    weights.write_bytes(b"1235")
    assert content_sha256(xml) != before
    names = {path.name for path in Artifact(xml, ABOUT).files}  # type: ignore[arg-type]
    assert names == {"it.xml", "it.bin", "it.xml.json"}


def device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 7))  # /dev/full
    except PermissionError:
        pytest.skip("only root makes devices")


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


SPECIAL: dict[str, Callable[[Path], None]] = {"device": device, "FIFO": os.mkfifo, "socket": bound}


@pytest.mark.parametrize("linked", [False, True], ids=["itself", "behind a link"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, linked: bool
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    path = Path("it")
    if linked:
        path.symlink_to("real")
    SPECIAL[kind](Path("real") if linked else path)
    before = sorted(p.name for p in tmp_path.iterdir()), path.stat().st_ino
    message = f"cannot write it: it is a {kind}, not a file"
    with pytest.raises(OutputError, match=message):
        write_text(path, "text")
    with pytest.raises(OutputError, match=message):
        make(path)
    with pytest.raises(OutputError, match=message), staging(Path("other")) as folder:
        (folder / "it").write_text("text")
        publish(folder)
    assert (sorted(p.name for p in tmp_path.iterdir()), path.stat().st_ino) == before


def test_the_open_files_of_a_process_are_not_replaced(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as file, pytest.raises(OutputError, match="an open file"):
        write_text(Path(f"/dev/fd/{file.fileno()}"), "text")


SHM = Path("/dev/shm")  # noqa: S108 - where there is one, another disk than the others


def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    other = Path(tempfile.mkdtemp(dir=SHM if SHM.is_dir() else None))
    link, far = tmp_path / "link", tmp_path / "far.mlpackage"
    link.symlink_to("real")
    far.symlink_to(other / "package")  # on another disk
    package(other / "package", "older")
    for text in ("new", "newer"):
        write_text(link, text)
        make(far, text)
        assert (tmp_path / "real").read_text() == text and link.is_symlink()
        assert far.is_symlink() and open_artifact(far)
        assert (other / "package" / "Data" / "weight.bin").read_text() == text
    assert [p.name for p in other.iterdir()] == ["package"]
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OutputError, match="symbolic links"):
        write_text(loop, "text")


WRITER = """
import sys
from pathlib import Path
from edgenext.system.files import atomic_path, staging
from edgenext.system.locks import hold
from edgenext.system.temporary import scratch_folder
folder = Path(sys.argv[1])
with hold(folder), atomic_path(folder / "a"), staging(folder / "b") as b, scratch_folder() as c:
    (b / "half").write_text("written")
    (c / "half").write_text("written")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no locks on open files there")
def test_what_a_killed_process_leaves_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    folder = tmp_path / "folder"

    def temporaries() -> list[str]:
        """Names of the temporary files, by what they are for."""
        with scratch_folder() as own:
            write_text(folder / "other", "text")
            paths = [*folder.iterdir(), *scratch.iterdir()]
            names = [p.name for p in paths if p != own and p.suffix == ".tmp"]
        return sorted(re.sub(r"[0-9a-f]{8}", "", name) for name in names)

    command = [sys.executable, "-c", WRITER, str(folder)]
    environment = os.environ | {"TMPDIR": str(scratch)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        stranger = folder / ".mine.tmp"  # not one of ours
        stranger.touch()
        assert temporaries() == [".a..tmp", ".b..tmp", ".edgenext..tmp", ".mine.tmp"]
        refusal = rf"folder is in use by process {process.pid} \(-c .*\). Wait until it ends"
        with pytest.raises(OutputError, match=refusal), hold(folder):
            pass
        process.kill()
    assert temporaries() == [".mine.tmp"]
    monkeypatch.setattr(sys, "argv", ["edgenext", "\udcff"])  # no text: a file name may be that
    with hold(folder):
        assert (folder / ".lock").read_text() == f"process {os.getpid()} (edgenext '?')"
    assert not (folder / ".lock").exists()
    with hold(tmp_path / "new" / "empty"):
        pass
    assert not (tmp_path / "new").exists()
