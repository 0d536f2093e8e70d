"""`edgenext predict`: the classes of single images, of any network or artifact."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_calls import FEATURES, FP32, INT8, MODEL, Cli
from PIL import Image

Artifacts = Callable[..., list[Path]]


@pytest.fixture
def photos(cli: Cli) -> list[str]:
    """Two images outside any class folder, of other sizes than the network's."""
    rng = np.random.default_rng(0)
    for name, shape in (("a.png", (50, 70, 3)), ("b.jpg", (40, 36, 3))):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(name)
    return ["a.png", "b.jpg"]


def test_classes_are_those_of_the_network(
    cli: Cli, artifacts: Artifacts, photos: list[str]
) -> None:
    (path,) = artifacts(FP32)
    by_file = cli.ok("predict", path, *photos, "--json").json
    by_model = cli.ok("predict", *MODEL[:1], *photos, *MODEL[1:], "--json").json
    assert (by_file["runtime"], by_model["runtime"]) == ("onnxruntime", "torch")
    for file_image, model_image in zip(by_file["images"], by_model["images"], strict=True):
        scores = [row["probability"] for row in file_image["classes"]]
        assert scores == sorted(scores, reverse=True) and len(scores) == 5
        assert [row["index"] for row in file_image["classes"]] == [
            row["index"] for row in model_image["classes"]
        ]
        others = [row["probability"] for row in model_image["classes"]]
        assert scores == pytest.approx(others, abs=1e-5)
    # as `eval` scores them: an image whose label is its first class is right, others are wrong
    for k, image in enumerate(by_file["images"]):
        for label in range(10):
            Path(f"set/{label}").mkdir(parents=True, exist_ok=True)
        best = image["classes"][0]["index"]
        Path(photos[k]).rename(f"set/{best}/{photos[k]}")
    (row,) = cli.ok("eval", path, "--data", "set", "--json").json["results"]
    assert (row["top1"], row["n"]) == (100, 2)


def test_names_folders_and_one_class(cli: Cli, weights: Path, photos: list[str]) -> None:
    Path("labels.txt").write_text("".join(f"n{i} thing {i}\n" for i in range(10)))
    Path("folder/deep").mkdir(parents=True)
    for name in photos:
        Path(name).rename(Path("folder/deep", name))
    how = ("--weights", weights, "--size", "32", "--labels", "labels.txt", "--top", "1")
    out = cli.ok("predict", MODEL[0], "folder", *how).out.splitlines()
    assert [line for line in out if not line.startswith(" ")] == [
        "folder/deep/a.png", "folder/deep/b.jpg",
    ]  # fmt: skip
    probability, index, name = out[1].split(maxsplit=2)
    assert probability.endswith("%") and name.startswith(f"n{index}")


def test_files_that_are_no_images(cli: Cli, artifacts: Artifacts, photos: list[str]) -> None:
    (path,) = artifacts(INT8)
    Path("text.png").write_text("no image")
    done = cli.ok("predict", path, "text.png", *photos, "gone.png", "--json")
    assert [row["image"] for row in done.json["images"]] == photos
    assert [row["image"] for row in done.json["unread"]] == ["text.png", "gone.png"]
    assert done.err.splitlines()[1].startswith("gone.png: cannot read gone.png: No such file")
    error = cli.fails(3, "predict", path, "text.png", "gone.png")
    assert error.startswith("edgenext: text.png cannot be used: ")
    assert error.endswith(", and 1 more files")


def test_what_cannot_be_predicted(cli: Cli, artifacts: Artifacts, photos: list[str]) -> None:
    path, backbone = artifacts(FP32, FEATURES)
    Path("empty").mkdir()
    assert "no image in the folder empty" in cli.fails(3, "predict", path, "empty")
    assert "--top must be at least 1" in cli.fails(2, "predict", path, photos[0], "--top", "0")
    assert "is a backbone" in cli.fails(3, "predict", backbone, photos[0])
    assert "Missing argument" in cli.fails(2, "predict", path)
    assert "unknown target" in cli.fails(2, "predict", path, photos[0], "--target", "toaster")


def test_doctor_names_what_is_missing_and_brings_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGENEXT_ENVIRONMENTS", str(cli.folder / "none"))
    monkeypatch.setenv("EDGENEXT_DEVICES", str(cli.folder / "devices.json"))
    report = json.loads(cli.ok("doctor", "--json").out)
    assert report["machine"]["cores"] >= report["usable_cores"] >= 1
    parts = {(part["part"], part["name"]): part for part in report["parts"]}
    assert parts["format", "onnx"]["ready"] and parts["runtime", "onnx"]["ready"]
    tflite = parts["format", "tflite"]
    assert not tflite["ready"] and tflite["command"] == "edgenext env tflite"
    monkeypatch.setitem(sys.modules, "adbutils", None)
    out = cli.ok("doctor").out
    assert "pip install 'edgenext[devices]'" in out
    assert "edgenext env tflite" in out and "Devices: none; edgenext devices add" in out
