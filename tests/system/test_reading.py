"""Files of a user that are no files, are endless, or contain what no file of ours does."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgenext.errors import ArtifactError, InputError
from edgenext.schema import Record
from edgenext.system.arrays import read_arrays, write_arrays
from edgenext.system.parsing import parse_json, parse_record, parse_toml, read_json, read_record
from edgenext.system.reading import open_file, open_zip, read_file, read_member, read_text, readable


@pytest.fixture
def special(tmp_path: Path) -> dict[str, Path]:
    """Paths of everything that is not a regular file."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "zero").symlink_to("/dev/zero")
    named = {name: tmp_path / name for name in ("fifo", "self", "dangling", "zero", "missing")}
    return named | {"folder": tmp_path, "device": Path("/dev/zero"), "nul": Path("a\0b")}


REASONS = {
    "fifo": "it is a FIFO",
    "self": "Too many levels of symbolic links",
    "dangling": "No such file or directory",
    "zero": "it is a device",
    "missing": "No such file or directory",
    "folder": "it is a folder",
    "device": "it is a device",
    "nul": "embedded null byte",
}


@pytest.mark.parametrize("name", REASONS)
def test_only_regular_files_are_opened(special: dict[str, Path], name: str) -> None:
    for call in (open_file, read_file, read_text, read_json):
        with pytest.raises(ArtifactError, match=REASONS[name]):
            call(special[name], ArtifactError)


def test_a_link_is_followed_and_a_limit_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_file(tmp_path / "link") == b"12345"
    with pytest.raises(InputError, match="is larger than 0 KiB"):
        read_file(tmp_path / "file", limit=4)


HOSTILE_JSON = {
    "": "EOF",
    "[": "EOF",
    "[" * 100_000: "recursion",
    "1e999": "inf instead of a finite number",
    "-1e999": "inf instead of a finite number",
    "[NaN]": "nan instead of a finite number",
    "[Infinity]": "inf instead of a finite number",
    "9" * 5000: "out of range",
    str(2**63): "more than 64 bits",
    '"\\u0000"': "NUL",
    '{"a\\u0000": 1}': "NUL",
    '"\\ud800"': "hex escape",
    "{} x": "trailing",
}


@pytest.mark.parametrize("text", HOSTILE_JSON, ids=lambda text: text[:12])
def test_json_that_no_file_of_ours_has(text: str) -> None:
    with pytest.raises(ValueError, match=HOSTILE_JSON[text]):
        parse_json(text)
    with pytest.raises(InputError) as caught:
        parse_record(text, Record, "it is not a record")
    assert "\n" not in str(caught.value)


def test_json_that_is_fine() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": [1, -9223372036854775808, 1e308, null, "\xc3\xa9"]}') == {
        "a": [1, -(2**63), 1e308, None, "é"]
    }


class Versioned(Record):
    schema_version: int = 1
    n: int = 0


def test_another_schema_version_is_named_before_its_unknown_fields(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    path.write_text('{"schema_version": 99, "unknown": 1}')
    with pytest.raises(InputError, match="has schema version 99; this program reads version 1"):
        read_record(path, Versioned, "a record", version=1)
    path.write_text('{"n": "x"}')
    with pytest.raises(InputError, match="is not a record: n: Input should be a valid integer"):
        read_record(path, Versioned, "a record", version=1)
    path.write_text('{"n": 3}')
    assert read_record(path, Versioned, "a record", version=1).n == 3


HOSTILE_TOML = {
    "a = " + "[" * 1900: "nested too deeply",
    "a." * 20_000 + "b = 1": "larger than",
    "x = 1\n" * 50_000: "larger than",
    "a = " + "9" * 1900: "64 bits",
    "a = inf": "inf instead of a finite number",
    "a = nan": "nan instead of a finite number",
    "a = 1e999": "inf instead of a finite number",
    'a = "\\u0000"': "NUL",
    "a = 1\na = 2": "overwrite",
}


@pytest.mark.parametrize("text", HOSTILE_TOML, ids=lambda text: text[:12])
def test_toml_that_no_file_of_ours_has(text: str) -> None:
    with pytest.raises(InputError, match=HOSTILE_TOML[text]) as caught:
        parse_toml(text, "it")
    assert "\n" not in str(caught.value)


def test_names_that_are_not_utf8_are_readable() -> None:
    name = os.fsdecode(b"caf\xe9.png")
    assert readable(name) == "caf\\udce9.png"
    assert readable("café") == "café"


def zipped(method: int, content: bytes, name: str = "it") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_of_a_zip_is_a_value_error(method: int) -> None:
    content = random.Random(0).randbytes(3000)  # noqa: S311 - content, no secrets
    data = zipped(method, content)
    with open_zip(io.BytesIO(data)) as archive:
        assert read_member(archive, archive.infolist()[0], 3000) == content
        with pytest.raises(ValueError, match="larger than"):
            read_member(archive, archive.infolist()[0], 2999)
    for at in range(60, 300):  # behind the headers
        damaged = bytearray(data)
        damaged[at] ^= 0xFF
        with open_zip(io.BytesIO(damaged)) as archive, pytest.raises(ValueError, match=r"\w"):
            read_member(archive, archive.infolist()[0], 3000)


def test_an_expanding_member_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """A member that states 1 kB and expands to 64 MiB; read at once, it takes all of them."""
    data = bytearray(zipped(zipfile.ZIP_LZMA, bytes(1 << 26)))
    size = (1 << 26).to_bytes(4, "little")
    (tmp_path / "bomb.zip").write_bytes(data.replace(size, (1000).to_bytes(4, "little")))
    program = (
        "import resource, sys; from pathlib import Path;"
        "from edgenext.system.reading import open_zip, read_member\n"
        "def peak(): print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "peak()\n"
        "with open_zip(Path(sys.argv[1])) as z:\n"
        "    try: read_member(z, z.infolist()[0], 1 << 20)\n"
        "    except ValueError as e: print(e)\n"
        "peak()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "bomb.zip"], capture_output=True, check=True
    )
    before_kib, message, peak_kib = done.stdout.decode().splitlines()
    assert message
    assert int(peak_kib) - int(before_kib) < 56 * 1024


def test_arrays_may_have_any_name(tmp_path: Path) -> None:
    """`np.savez` takes names as keywords: `file` and `labels` collided."""
    path = tmp_path / "it.npz"
    names = ("file", "labels", "logits/file", "logits/labels", "allow_pickle", "../x", "é\\")
    arrays = {name: np.full((2, 3), i, np.float32) for i, name in enumerate(names)}
    write_arrays(path, arrays | {"f": np.zeros((2, 2), order="F"), "none": np.zeros((0, 3))})
    read = read_arrays(path)
    assert set(read) == {*names, "f", "none"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
    before = path.read_bytes()
    write_arrays(path, arrays | {"f": np.zeros((2, 2), order="F"), "none": np.zeros((0, 3))})
    assert path.read_bytes() == before
    with np.load(path) as stored:
        assert stored["file"].shape == (2, 3)


def test_arrays_larger_than_their_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "it.npz"
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1000)}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    path.write_bytes(zipped(zipfile.ZIP_STORED, buffer.getvalue() + bytes(100), "a.npy"))
    with pytest.raises(InputError, match="another size than its header says"):
        read_arrays(path)
    path.write_bytes(zipped(zipfile.ZIP_DEFLATED, bytes(1 << 24), "a.npy"))
    with pytest.raises(InputError, match="larger than 1 MiB"):
        read_arrays(path, limit=1 << 20)
    encrypted = bytearray(zipped(zipfile.ZIP_STORED, bytes(100), "a.npy"))
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    encrypted[6] |= 1
    path.write_bytes(encrypted)
    with pytest.raises(InputError, match="encrypted"):
        read_arrays(path)
    path.write_bytes(json.dumps({}).encode())
    with pytest.raises(InputError, match="is not an archive of arrays"):
        read_arrays(path)
