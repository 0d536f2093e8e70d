"""Streams, folders, names and options that no user means to give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_calls import FP32, MODEL, Cli, environment
from PIL import Image

from edgenext.formats.artifact import content_sha256

Artifacts = Callable[..., list[Path]]
Pictures = Callable[..., Path]


def shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run `edgenext` in a shell, for its redirections."""
    program = f"{sys.executable} -P -m edgenext"
    return subprocess.run(
        ["/bin/sh", "-c", command.replace("edgenext", program, 1)],
        cwd=folder,
        env=environment(folder) | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">&-", "Bad file descriptor"), ("> /dev/full", "No space left on device")],
)
def test_a_standard_output_that_takes_nothing(
    tmp_path: Path, redirection: str, reason: str
) -> None:
    done = shell(tmp_path, f"edgenext models --json {redirection}")
    line = f"edgenext: cannot write to standard output: {reason}\n"
    assert (done.returncode, done.stderr) == (6, line)


def test_a_standard_error_that_takes_nothing(tmp_path: Path) -> None:
    assert "edgenext_small" in shell(tmp_path, "edgenext models 2>&-").stdout
    assert shell(tmp_path, "edgenext modls 2> /dev/full").returncode == 2
    done = shell(tmp_path, "edgenext models | head -n 1")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_working_directory_that_was_removed(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = shell(tmp_path / "gone", 'rmdir "$PWD"; edgenext models')
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1 and "working directory" in done.stderr


def test_paths_that_are_no_artifacts(cli: Cli) -> None:
    Path("folder").mkdir()
    for name in (".", "/", "..", "folder/", "./folder"):
        assert name.rstrip("/") in cli.fails(3, "eval", name, "--data", "digits")
        assert "is a folder, not an artifact" in cli.fails(3, "bench", name)
    name = os.fsdecode(b"caf\xe9.onnx")
    assert "is not UTF-8" in cli.fails(2, "eval", name, "--data", "digits")


def test_options_that_are_no_numbers(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    assert "unsupported opset 0" in cli.fails(2, "export", *MODEL, "--opset", "0")
    assert "--sustained inf" in cli.fails(2, "bench", path, "--sustained", "inf")
    assert "--unit npu is of a device" in cli.fails(2, "bench", path, "--unit", "npu")
    classes = str(2**54)
    random = ("edgenext_xx_small", "--random-weights", "--num-classes", classes)
    assert "at most 1000000" in cli.fails(2, "export", *random)
    assert "lr" in cli.fails(2, "train", "edgenext_xx_small", "--data", "digits", "--lr", "nan")


def hostile_images(folder: Path) -> list[str]:
    """One usable image beside everything that is none; the names of those."""
    os.mkfifo(folder / "0" / "fifo.png")
    (folder / "0" / "self.png").symlink_to("self.png")
    (folder / "0" / "zero.png").symlink_to("/dev/zero")
    (folder / "0" / "gone.png").symlink_to("nowhere.png")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"
    (folder / "0" / "eps.jpg").write_bytes(eps)
    (folder / "0" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"no image")
    names = ("caf\\udce9.png", "eps.jpg", "fifo.png", "gone.png", "self.png", "zero.png")
    return [f"0/{name}" for name in names]


def test_files_that_are_no_images_are_counted(
    cli: Cli, artifacts: Artifacts, pictures: Pictures
) -> None:
    """None of them ends, blocks or slows a command where the others are counted."""
    (path,) = artifacts(FP32)
    folder = pictures(2)
    names = hostile_images(folder)
    done = cli.ok("eval", path, "--data", folder, "--json")
    (row,) = done.json["results"]
    assert (row["n"], row["data"]["corrupt"]) == (20, names)
    limited = cli.ok("eval", path, "--data", folder, "--limit", "20", "--json")
    assert limited.json["results"][0]["n"] == 20
    latin = folder / "1" / os.fsdecode(b"\xe9.png")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(latin, "PNG")
    limited = cli.ok("eval", path, "--data", folder, "--limit", "21", "--json")
    assert limited.json["results"][0]["n"] == 21


def test_postscript_is_never_started(
    cli: Cli, artifacts: Artifacts, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow hands EPS to a program called `gs`, whatever the file is called."""
    (path,) = artifacts(FP32)
    folder = pictures(1)
    Path("bin").mkdir()
    Path("bin/gs").write_text(f"#!/bin/sh\necho started >{Path('started').absolute()}\n")
    Path("bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path('bin').absolute()}:{os.environ['PATH']}")
    hostile_images(folder)
    cli.ok("eval", path, "--data", folder)
    assert not Path("started").exists()


@pytest.mark.parametrize("name", ["weights", "data", "labels", "config", "manifest"])
def test_a_fifo_or_device_never_blocks(
    cli: Cli, artifacts: Artifacts, weights: Path, name: str
) -> None:
    (path,) = artifacts(FP32)
    os.mkfifo("fifo")
    for special in ("fifo", "/dev/zero"):
        Path("special.toml").unlink(missing_ok=True)
        Path("special.toml").symlink_to(special)
        command: tuple[object, ...] = {
            "weights": ("export", "--weights", special),
            "data": ("eval", path, "--data", special),
            "labels": ("export", "--weights", weights, "--labels", special),
            "config": ("run", "special.toml"),
            "manifest": ("eval", path, "--data", "digits"),
        }[name]
        if name == "manifest":
            Path(f"{path}.json").unlink()
            Path(f"{path}.json").symlink_to(special)
        message = cli.fails(3, *command)
        assert "FIFO" in message or "device" in message or "no manifest" in message, message


HOSTILE_MANIFESTS: dict[str, Callable[[dict[str, object]], object]] = {
    "schema version 99": lambda m: m.update(schema_version=99, new=1),
    "outputs": lambda m: m.update(outputs=[]),
    "input.shape": lambda m: m["input"].update(shape=[]),  # type: ignore[attr-defined]
    "64 bits": lambda m: m.update(size_bytes=2**70),
    "num_classes": lambda m: m.update(num_classes=2**54, labels=None),
    "labels": lambda m: m.update(labels=["a"]),
    "eval.size": lambda m: m["eval"].update(size=2**40),  # type: ignore[attr-defined]
    "input.shape ": lambda m: m["input"].update(shape=[2**40, 3, 32, 32]),  # type: ignore[attr-defined]
    "eval.std": lambda m: m["eval"].update(std=[0, 1, 1]),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("what", HOSTILE_MANIFESTS)
def test_manifests_by_which_no_file_can_be_run(cli: Cli, artifacts: Artifacts, what: str) -> None:
    (path,) = artifacts(FP32)
    manifest = json.loads(Path(f"{path}.json").read_bytes())
    HOSTILE_MANIFESTS[what](manifest)
    Path(f"{path}.json").write_text(json.dumps(manifest))
    for command in (("eval", path, "--data", "digits"), ("bench", path), ("check", path)):
        assert what.strip() in cli.fails(3, *command)


def hostile_graphs(path: Path) -> dict[str, bytes]:
    """Graphs that are refused, by a word of the reason."""
    import onnx

    def changed(change: Callable[[onnx.ModelProto], object]) -> bytes:
        model = onnx.load(path)
        change(model)
        return model.SerializeToString()

    def external(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")

    def unmergeable(model: onnx.ModelProto) -> None:
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7

    return {
        "IR version 1": changed(lambda m: setattr(m, "ir_version", 1)),
        "other files": changed(external),
        "not valid": changed(unmergeable),
        "not an ONNX graph": b"\x08\x01 no protobuf",
        "no input": changed(lambda m: m.graph.ClearField("input")),
    }


def test_graphs_that_cannot_be_used(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    whole, manifest = path.read_bytes(), json.loads(Path(f"{path}.json").read_bytes())
    for reason, content in hostile_graphs(path).items():
        path.write_bytes(content)
        manifest["sha256"] = content_sha256(path)
        Path(f"{path}.json").write_text(json.dumps(manifest))
        assert reason in cli.fails(3, "quantize", path, "--calib", "digits", "-n", "8")
        code = cli.run("eval", path, "--data", "digits", "--limit", "10").code
        assert code in (0, 9), reason
    path.write_bytes(whole)
