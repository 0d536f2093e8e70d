"""The contents allowed in a weights file: an attacker's files are refused and never run."""

from __future__ import annotations

import argparse
import io
import json
import os
import pathlib
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import weights as golden
from safetensors.torch import save_file

from edgenext.errors import CheckpointError
from edgenext.models.checkpoint import load_checkpoint
from edgenext.models.unpickle import Inert, read_weights_file


class Payload:
    """Runs a shell command when it is unpickled without restrictions."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


class Builtin(Payload):
    def __reduce__(self):
        return eval, (f"__import__('pathlib').Path({str(self.marker)!r}).touch()",)


class Touch(Payload):
    def __reduce__(self):
        return pathlib.Path.touch, (self.marker,)


class Hidden(Payload):
    """A payload as the argument of an allowed name."""

    def __reduce__(self):
        return argparse.Namespace, (), {"output_dir": Payload(self.marker)}


def _torch_zip(value: object, path: Path) -> None:
    torch.save(value, path)


def _torch_legacy(value: object, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def _pickle_2(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value, 2))


def _pickle_5(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value, 5))


WRITERS = [_torch_zip, _torch_legacy, _pickle_2, _pickle_5]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("payload", [Payload, Builtin, Touch, Hidden])
def test_a_payload_is_refused_and_not_run(tmp_path, write, payload) -> None:
    marker, path = tmp_path / "ran", tmp_path / "evil.pth"
    write({"model": {"head.weight": torch.zeros(2)}, "args": payload(marker)}, path)
    with pytest.raises(CheckpointError, match=r"unsafe|cannot be read safely"):
        load_checkpoint("edgenext_xx_small", path)
    assert not marker.exists()


@pytest.mark.parametrize("payload", [Payload, Builtin, Touch, Hidden])
def test_the_payloads_do_run_when_pickles_are_trusted(tmp_path, payload) -> None:
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(payload(marker)))  # noqa: S301 - proves that the test above can fail
    assert marker.exists()


def test_the_message_names_what_would_have_run(tmp_path) -> None:
    _torch_zip({"args": Payload(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError) as caught:
        read_weights_file(tmp_path / "evil.pth")
    assert "posix.system" in caught.value.message
    assert "\n" not in str(caught.value)


def _published(state: dict[str, torch.Tensor]) -> dict[str, object]:
    """The layout of the published files: weights, averaged weights and the state of training."""
    return {
        "model": {k: torch.zeros_like(v) for k, v in state.items()},
        "model_ema": state,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 6e-3}]},
        "epoch": 299,
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(model="edgenext_xx_small", lr=6e-3, device="cuda", drop=None),
        "max_accuracy": np.float64(71.23),
        "counts": [np.int64(3), np.float32(0.5), np.bool_(True)],
    }


@pytest.mark.parametrize("write", [_torch_zip, _torch_legacy])
def test_a_published_file_is_read(tmp_path, xxs, write) -> None:
    path = tmp_path / "edgenext_xx_small.pth"
    write(_published(xxs), path)
    checkpoint = load_checkpoint("edgenext_xx_small", path)
    assert all(torch.equal(checkpoint.state[k], v) for k, v in xxs.items())


def test_a_file_of_numpy_1_is_read_and_its_scalars_stay_inert(tmp_path, xxs) -> None:
    new, old = tmp_path / "new.pth", tmp_path / "old.pth"
    _torch_zip(_published(xxs), new)
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                assert b"cnumpy._core.multiarray\n" in data
                data = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
            target.writestr(name, data)
    root = read_weights_file(old)
    assert type(root["max_accuracy"]) is Inert
    assert type(root["args"]) is Inert
    assert vars(root["args"]) == {}
    assert torch.equal(root["model_ema"]["head.bias"], xxs["head.bias"])


def test_the_allowed_names_are_allowed_for_one_file_only(tmp_path, xxs) -> None:
    path = tmp_path / "a.pth"
    _torch_zip(_published(xxs), path)
    before = set(torch.serialization.get_safe_globals())
    read_weights_file(path)
    assert set(torch.serialization.get_safe_globals()) == before


def _truncated(tmp_path: Path, complete: Path, share: float) -> Path:
    data = complete.read_bytes()
    cut = tmp_path / f"cut{complete.suffix}"
    cut.write_bytes(data[: int(len(data) * share)])
    return cut


@pytest.mark.parametrize("share", [0.00002, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_is_refused(tmp_path, xxs, kind: str, share: float) -> None:
    complete = tmp_path / f"complete.{kind}"
    if kind == "safetensors":
        save_file(xxs, complete)
    else:
        (_torch_zip if kind == "zip" else _torch_legacy)(xxs, complete)
    with pytest.raises(CheckpointError) as caught:
        read_weights_file(_truncated(tmp_path, complete, share))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "cut") in caught.value.message


def test_a_damaged_byte_inside_the_index_is_refused(tmp_path, xxs) -> None:
    path = tmp_path / "a.safetensors"
    save_file(xxs, path)
    data = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["head.bias"]["data_offsets"] = [0, 1 << 40]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    with pytest.raises(CheckpointError, match="damaged"):
        read_weights_file(path)


def _script(path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
        target.writestr("archive/constants.pkl", b"\x80\x02).")  # the mark of TorchScript


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.pth", b"", "is empty"),
        ("text.pth", b"not a checkpoint at all, but text\n", "neither a PyTorch checkpoint"),
        ("page.pth", b"<!DOCTYPE html><html>404</html>", "neither a PyTorch checkpoint"),
        ("zeros.pth", bytes(1000), "neither a PyTorch checkpoint"),
        ("model.onnx", b"\x08\x0a\x12\x07pytorch" + bytes(50), "neither a PyTorch checkpoint"),
        ("one.pth", b"P", "neither a PyTorch checkpoint"),
        ("list.pth", pickle.dumps([1, 2], 2), "cannot be read safely"),
    ],
)
def test_other_files_are_refused(tmp_path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint("edgenext_xx_small", path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_torchscript_archive_is_refused(tmp_path) -> None:
    _script(tmp_path / "script.pt")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_weights_file(tmp_path / "script.pt")


def test_a_zip_of_something_else_is_refused(tmp_path) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="damaged"):
        read_weights_file(path)


def test_missing_files_and_folders_are_refused(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"the weights file .* does not exist"):
        load_checkpoint("edgenext_xx_small", tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_checkpoint("edgenext_xx_small", tmp_path)
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint("edgenext_xx_small", tmp_path / ("a" * 300))


def test_golden_weights_survive_every_format(tmp_path) -> None:
    state = golden.state("edgenext_xx_small_bn_hs")
    for i, write in enumerate((_torch_zip, _torch_legacy, save_file)):
        path = tmp_path / f"{i}.bin"
        write(state, path)
        read = read_weights_file(path)
        assert all(torch.equal(read[k], v) for k, v in state.items())
