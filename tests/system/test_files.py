"""Folders as artifacts: hashed, replaced as a whole, or left as they were."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edgenext.errors import ArtifactError, OutputError
from edgenext.formats.artifact import content_sha256, content_size, new_artifact, open_artifact
from edgenext.schema import EvalTransform, TensorSpec
from edgenext.system.files import publish, sha256_tree, staging

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
