"""Artifacts that are not what they should be; those whose name is unusual are none of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from cli_calls import FEATURES, FP32, INT8, MODEL, PLAIN, Cli
from onnx import TensorProto, helper
from PIL import Image

from edgenext.system.files import sha256_file

Artifacts = Callable[..., list[Path]]
DIGITS = ("--data", "digits", "--limit", "20")


def every_use(path: object) -> list[tuple[object, ...]]:
    """The commands that open an artifact."""
    return [
        ("eval", path, *DIGITS),
        ("compare", path, path, *DIGITS),
        ("bench", path, "--rounds", "1"),
        ("quantize", path, "--calib", "digits", "-n", "8"),
    ]


def test_a_file_that_is_not_there(cli: Cli) -> None:
    for command in every_use("nowhere.onnx"):
        assert "nowhere.onnx" in cli.fails(3, *command)


def test_a_file_that_was_cut_short(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    path.write_bytes(path.read_bytes()[: 1 << 20])
    for command in every_use(path):
        assert "is not the file of its manifest" in cli.fails(3, *command)


def test_a_cut_file_with_a_manifest_that_fits(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    path.write_bytes(path.read_bytes()[: 1 << 20])
    manifest = json.loads(Path(f"{path}.json").read_text()) | {"sha256": sha256_file(path)}
    Path(f"{path}.json").write_text(json.dumps(manifest))
    for command in every_use(path)[:3]:
        assert path.stem in cli.fails(9, *command)
    assert str(path) in cli.fails(3, *every_use(path)[3])


def test_a_file_without_its_manifest_is_what_it_says_itself(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    Path(f"{path}.json").unlink()
    first = cli.ok("check", path, "--json")
    assert f"{path} has no manifest beside it: read from the file" in first.err
    Image.new("RGB", (40, 40), "red").save("red.png")
    for command in (*every_use(path), ("predict", path, "red.png")):
        assert cli.ok(*command, "--json").json


def test_an_onnx_file_from_elsewhere(cli: Cli) -> None:
    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g", *([t] for t in tensors)
    )
    onnx.save(helper.make_model(graph, ir_version=9), "foreign.onnx")
    for command in every_use("foreign.onnx"):
        assert "has no manifest" in cli.fails(3, *command)


@pytest.mark.parametrize("text", ["", "{nope", "[]", "null", "{}", '{"file": 3}', "\0"])
def test_a_manifest_that_is_none(cli: Cli, artifacts: Artifacts, text: str) -> None:
    (path,) = artifacts(FP32)
    Path(f"{path}.json").write_text(text)
    for command in every_use(path)[::2]:
        assert "is not a manifest" in cli.fails(3, *command)


@pytest.mark.parametrize("name", ["net.bin", "net", "Netz mit Abstand.tflite", "edgenext_small"])
def test_a_renamed_artifact_opens_by_content(cli: Cli, artifacts: Artifacts, name: str) -> None:
    (path,) = artifacts(FP32)
    shutil.move(path, name)
    shutil.move(f"{path}.json", f"{name}.json")
    (row,) = cli.ok("eval", name, *DIGITS, "--json").json["results"]
    assert row["artifact"] == Path(name).stem
    assert row["runtime"] == "onnxruntime"
    assert cli.ok("bench", name, "--rounds", "1", "--json").json["results"]


def test_two_files_of_one_name_are_told_apart(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    Path("copy").mkdir()
    for file in (path, Path(f"{path}.json")):
        shutil.copy(file, "copy")
    rows = cli.ok("eval", path, f"copy/{path}", path, *DIGITS, "--json").json["results"]
    assert len({row["artifact"] for row in rows}) == 3


def test_a_backbone_has_nothing_to_score(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FEATURES)
    assert "no logits" in cli.fails(3, "eval", path, *DIGITS)
    assert "no logits" in cli.fails(3, "compare", path, path, *DIGITS)
    assert cli.ok("bench", path, "--rounds", "1", "--json").json["results"][0]["n"] > 0


def test_the_plain_graph_is_not_quantized(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(PLAIN)
    assert "--no-fold" in cli.fails(3, "quantize", path, "--calib", "digits", "-n", "8")


def test_int8_is_not_quantized_again(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(INT8)
    before = path.read_bytes()
    assert "quantized already" in cli.fails(3, "quantize", path, "--calib", "digits", "-n", "8")
    assert path.read_bytes() == before


def test_an_old_opset_is_not_quantized(cli: Cli) -> None:
    file = cli.ok("export", *MODEL, "--opset", "19", "--json").json["artifact"]
    said = cli.fails(3, "quantize", file, "--calib", "digits", "-n", "8")
    assert "opset 19" in said
    assert "--opset 20" in said


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--device", "gpu", "unknown device 'gpu'"),
        ("--threads", "0", "at least 1"),
        ("--batch", "0", "at least 1"),
        ("--rounds", "0", "at least 1"),
    ],
)
def test_a_benchmark_that_cannot_be(
    cli: Cli, artifacts: Artifacts, option: str, value: str, says: str
) -> None:
    assert says in cli.fails(2, "bench", *artifacts(FP32), option, value)


def test_another_batch_than_the_file_takes(cli: Cli, artifacts: Artifacts) -> None:
    how = ("--batch", "4", "--rounds", "1", "--json")
    (row,) = cli.ok("bench", *artifacts(FP32), *how).json["results"]
    assert (row["batch"], row["valid"]) == (1, False)
    assert any("batch" in reason for reason in row["reasons"])
