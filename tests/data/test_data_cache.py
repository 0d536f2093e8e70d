"""Images are decoded once; the cache is written completely or not at all, and checked when read."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from edgenext.data import ImageSet, load_images
from edgenext.data.pool import Item, decode_all
from edgenext.errors import DataError, OutputError
from edgenext.schema import EvalTransform

SIZE = EvalTransform(size=32)


def load(data: Path, **options: object) -> ImageSet:
    return load_images(data, SIZE, role="val", num_classes=2, **options)


@pytest.fixture
def folder(make_folder) -> Path:
    return make_folder({"a": 6, "b": 6})


@pytest.fixture
def large(make_folder) -> Path:
    return make_folder({"a": 150, "b": 150})


def files(cache: Path) -> set[str]:
    return {p.suffix for p in cache.iterdir()} if cache.exists() else set()


def test_a_second_load_decodes_nothing(folder, cache):
    first = load(folder)
    assert files(cache) == {".npy", ".json"}
    (array,) = cache.glob("*.npy")
    before = array.stat().st_mtime_ns
    second = load(folder)
    assert array.stat().st_mtime_ns == before
    assert isinstance(second.images, np.memmap) and not second.images.flags.writeable
    np.testing.assert_array_equal(first.images, second.images)


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-1],
        lambda b: b[: len(b) // 2],
        lambda b: b[:0],
        lambda b: b[:500] + bytes([b[500] ^ 1]) + b[501:],
        lambda b: b[:-4096] + bytes(4096),
    ],
)
def test_a_damaged_array_is_decoded_again(folder, cache, damage):
    expected = np.array(load(folder).images)
    (array,) = cache.glob("*.npy")
    array.write_bytes(damage(array.read_bytes()))
    np.testing.assert_array_equal(load(folder).images, expected)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"n": 12, "crc32": 0, "broken": []}'])
def test_a_damaged_index_is_decoded_again(folder, cache, text):
    expected = np.array(load(folder).images)
    (index,) = cache.glob("*.json")
    index.write_text(text)
    np.testing.assert_array_equal(load(folder).images, expected)


def test_other_geometry_is_another_array(folder, cache):
    load(folder)
    load_images(folder, EvalTransform(size=32, crop_pct=1.0), role="val", num_classes=2)
    assert len(list(cache.glob("*.npy"))) == 2


def test_several_processes_decode_the_same(large, tmp_path):
    one = load(large, workers=1, cache_dir=tmp_path / "1")
    three = load(large, workers=3, cache_dir=tmp_path / "3")
    np.testing.assert_array_equal(one.images, three.images)


def test_a_script_needs_no_main_guard_for_worker_processes(large, tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from edgenext.data import load_images\n"
        "from edgenext.schema import EvalTransform\n"
        f"s = load_images({str(large)!r}, EvalTransform(size=32), role='val', num_classes=2,"
        " workers=2)\n"
        "print(len(s))\n"
    )
    root = Path(__file__).parents[2]
    process = subprocess.run(
        [sys.executable, "-W", "error", script],
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (process.stdout, process.stderr) == ("300\n", "")


def test_ctrl_c_leaves_nothing(large, cache):
    def interrupt(task: str, done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(large, workers=2, progress=interrupt)
    assert files(cache) == set()
    assert not [p for p in psutil.Process().children() if "edgenext.data" in " ".join(p.cmdline())]


def test_a_full_disk(folder, cache):
    """A limit on file size fails the write as a full disk does, in the middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*EDGENEXT_CACHE"):
            load(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(cache) == set()


def test_a_cache_that_cannot_be_written(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .*EDGENEXT_CACHE"):
        load(folder, cache_dir=tmp_path / "file")


def test_concurrent_loads_give_the_same_images(folder, cache):
    results: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: results.append(np.array(load(folder).images)))
        for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 4
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    assert files(cache) == {".npy", ".json"}


def test_a_file_that_changes_while_it_is_read(folder):
    with pytest.raises(DataError, match=r"a/000\.png in .* changed while it was read"):
        list(decode_all(folder, [Item("a/000.png", "0" * 16)], SIZE, 1))


def test_a_worker_that_dies(large):
    items = [Item(f"a/{k:03d}.png", "0" * 16) for k in range(149)] * 2
    replies = decode_all(large / "nowhere", items, SIZE, 2)
    with pytest.raises(DataError, match="a process that decodes images died"):
        list(replies)
