"""Trees: kept under their content, whole or not at all, and never outside their store."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenext.errors import InputError
from edgenext.system.files import sha256_tree
from edgenext.system.trees import TreeStore, read_tree, tree_digest

FILES = {"a.onnx": b"graph", "a.onnx.json": b"{}", "package/weights.bin": bytes(1000)}


def test_a_tree_is_kept_under_the_hash_of_its_folder(tmp_path: Path) -> None:
    store = TreeStore(tmp_path / "files")
    digest = store.add(FILES)
    folder = store.find(digest)
    assert folder == tmp_path / "files" / digest
    assert digest == tree_digest(FILES) == sha256_tree(folder)
    assert read_tree(folder) == FILES
    assert store.add(FILES) == digest
    assert [path.name for path in store.root.iterdir()] == [digest]


@pytest.mark.parametrize("change", ["other bytes", "one more file", "one file less"])
def test_a_changed_tree_is_not_there_and_is_written_again(tmp_path: Path, change: str) -> None:
    digest = TreeStore(tmp_path).add(FILES)
    if change == "other bytes":
        (tmp_path / digest / "a.onnx").write_bytes(b"grape")
    elif change == "one more file":
        (tmp_path / digest / "b").touch()
    else:
        (tmp_path / digest / "a.onnx").unlink()
    store = TreeStore(tmp_path)
    assert store.find(digest) is None
    assert store.add(FILES) == digest
    assert TreeStore(tmp_path).find(digest) is not None
    assert [path.name for path in tmp_path.iterdir()] == [digest]


@pytest.mark.parametrize("name", ["../a", "/a", "b/../../a", "", "a\0b"])
def test_a_name_that_leads_out_of_a_tree_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be called"):
        TreeStore(tmp_path / "files").add({name: b""})
    assert list(tmp_path.rglob("*")) == []
