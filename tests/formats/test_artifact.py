from __future__ import annotations

from pathlib import Path

import pytest

from edgenext.errors import ArtifactError, EdgenextError, OutputError, unknown_name
from edgenext.formats.artifact import (
    distinct_names,
    is_artifact,
    manifest_path,
    open_artifact,
    save_artifact,
)
from edgenext.schema import EvalTransform, TensorSpec
from edgenext.system.files import atomic_path, write_text

ABOUT = {
    "format": "onnx",
    "scheme": "fp32",
    "form": "convT",
    "target": "cpu-onnxruntime",
    "arch": "edgenext_xx_small",
    "num_classes": 10,
    "eval": EvalTransform(),
    "input": TensorSpec(name="input", shape=(1, 3, 64, 64), dtype="float32"),
    "outputs": (TensorSpec(name="logits", shape=(1, 10), dtype="float32"),),
    "opset": 20,
    "source": {},
    "tools": {},
}


def test_a_saved_artifact_can_be_opened(tmp_path: Path) -> None:
    saved = save_artifact(tmp_path / "a.onnx", b"\x08\x09 bytes", ABOUT)
    assert open_artifact(tmp_path / "a.onnx") == saved
    assert is_artifact(tmp_path / "a.onnx")
    assert saved.result().size_bytes == 8
    assert {p.name for p in tmp_path.iterdir()} == {"a.onnx", "a.onnx.json"}


def test_a_changed_file_is_not_the_artifact(tmp_path: Path) -> None:
    path = save_artifact(tmp_path / "a.onnx", b"12345678", ABOUT).path
    path.write_bytes(b"1234567")
    with pytest.raises(ArtifactError, match="not the file of its manifest"):
        open_artifact(path)
    manifest_path(path).write_text('{"file": 3}')
    with pytest.raises(ArtifactError, match="is not a manifest"):
        open_artifact(path)
    manifest_path(path).unlink()
    with pytest.raises(ArtifactError, match="has no manifest"):
        open_artifact(path)
    with pytest.raises(ArtifactError, match="no artifact at"):
        open_artifact(tmp_path / "b.onnx")


def test_formats_are_recognised_by_content(tmp_path: Path) -> None:
    onnx, text = tmp_path / "model.bin", tmp_path / "notes.onnx"
    onnx.write_bytes(b"\x08\x09\x12")
    text.write_text("no protobuf")
    assert is_artifact(onnx) and not is_artifact(text) and not is_artifact(tmp_path)


def test_names_are_distinct() -> None:
    a, b, other = Path("x/a.onnx"), Path("x/b.onnx"), Path("y/a.onnx")
    assert distinct_names([a, b]) == ["a", "b"]
    assert distinct_names([a, other, a]) == ["x/a.onnx", "y/a.onnx", "x/a.onnx (2)"]


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]
    with pytest.raises(OutputError, match="cannot write"):
        write_text(target / "below" / "a file.txt", "x")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        write_text(folder, "x")
    assert set(tmp_path.iterdir()) == {target, folder}


def test_a_message_has_an_end() -> None:
    message = str(EdgenextError("a head of " + "x" * 10_000, "Rename it"))
    assert message.endswith("x…. Rename it") and len(message) < 2100


def test_every_error_has_an_exit_code_and_the_nearest_names() -> None:
    def tree(cls: type[EdgenextError]) -> set[type[EdgenextError]]:
        return {cls}.union(*(tree(c) for c in cls.__subclasses__()))

    assert all(1 <= c.exit_code < 130 and c.__doc__ for c in tree(EdgenextError))
    error = unknown_name("model", "edgenext_smal", ["edgenext_small", "edgenext_base", "other"])
    assert "edgenext_small" in str(error) and "other" not in error.remedy
    assert "Known: a, b" in str(unknown_name("model", "zzz", ["b", "a"]))
