"""Hashes of a folder's files, as coreutils reads them, and of a record in itself."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from edgenext.errors import InputError
from edgenext.schema import BenchReport
from edgenext.schema.seal import sealed
from edgenext.system.names import data_name, without_paths
from edgenext.system.sums import SUMS, own_hash, read_sums, write_sums

NAMES = ("plain.txt", "a folder/with  spaces", "back\\slash", "line\nbreak", "ünïcode")


def test_coreutils_reads_the_hashes(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    write_sums(tmp_path, [tmp_path / name for name in NAMES])
    assert set(read_sums(tmp_path)) == set(NAMES)
    if tool := shutil.which("sha256sum"):
        command = [tool, "--check", "--strict", "--quiet", SUMS]
        subprocess.run(command, cwd=tmp_path, check=True)
        (tmp_path / NAMES[1]).write_text("other")
        assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode


def test_other_lines_are_kept(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    write_sums(tmp_path, [tmp_path / "a"])
    write_sums(tmp_path, [tmp_path / "b"], keep=True)
    assert set(read_sums(tmp_path)) == {"a", "b"}
    write_sums(tmp_path, [tmp_path / "b"])
    assert set(read_sums(tmp_path)) == {"b"}


@pytest.mark.parametrize(
    "damage",
    [b"\n", b"x  a\n", b"%s a\n", b"%s  a", b"%s  \n", b"%s  a\n%s  a\n", b"%s  a\r\n", b"\0" * 99],
)
def test_every_byte_of_the_hashes_counts(tmp_path: Path, damage: bytes) -> None:
    digest = hashlib.sha256(b"").hexdigest().encode()
    (tmp_path / SUMS).write_bytes(damage.replace(b"%s", digest))
    with pytest.raises(InputError, match=SUMS):
        read_sums(tmp_path)
    (tmp_path / SUMS).write_bytes(digest.upper() + b"  a\n")
    with pytest.raises(InputError, match="line 1"):
        read_sums(tmp_path)


def test_a_record_has_a_hash_of_itself() -> None:
    content = sealed(BenchReport(results=(), ratios=()), "report_sha256")
    recorded, computed = own_hash(content, "report_sha256")
    assert recorded == computed
    assert BenchReport.model_validate_json(content).report_sha256 == recorded
    for i in range(len(content)):
        changed = content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :]
        recorded, computed = own_hash(changed, "report_sha256")
        assert recorded != computed, i  # the hash differs, or there is none any more


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("edgenext run /home/me/net.toml", "edgenext run net.toml"),
        ("edgenext run net.toml -o runs/net", "edgenext run net.toml -o runs/net"),
        ("edgenext run m --data=/srv/a/val.zip", "edgenext run m --data=val.zip"),
        ("edgenext run m --data ~/sets/val/", "edgenext run m --data val"),
        ("edgenext run m -o/srv/a/out", "edgenext run m -oout"),
        ("edgenext run m --data ../../sets/val", "edgenext run m --data val"),
        ("edgenext run 'C:\\Users\\me\\net.toml'", "edgenext run net.toml"),
        ("edgenext run m --weights '/a b/c d.pth'", "edgenext run m --weights 'c d.pth'"),
        ("edgenext run m --max-drop 0.5 --size 32", "edgenext run m --max-drop 0.5 --size 32"),
        ("say 'it is", "say ''\"'\"'it' is"),
        ("", ""),
    ],
)
def test_a_command_without_paths(command: str, shown: str) -> None:
    assert without_paths(command) == shown


def test_the_name_of_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sets" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "sets" / "inner")
    assert [data_name(d) for d in ("digits", "/a/b/", "x/val.zip", ".", "..")] == [
        "digits", "b", "val.zip", "inner", "sets",
    ]  # fmt: skip
