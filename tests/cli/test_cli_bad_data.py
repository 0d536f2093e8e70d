"""Images that are missing, broken or the wrong ones."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_calls import FP32, MODEL, Cli

Artifacts = Callable[..., list[Path]]
Pictures = Callable[..., Path]


def test_a_folder_that_is_not_there(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    assert "nowhere" in cli.fails(3, "eval", path, "--data", "nowhere")
    assert "nowhere" in cli.fails(3, "quantize", path, "--calib", "nowhere")
    assert "nowhere" in cli.fails(3, "export", *MODEL, "--data", "nowhere", "-o", "new")
    assert "nowhere" in cli.fails(3, "train", "edgenext_xx_small", "--data", "nowhere")


def test_an_empty_folder(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    Path("empty").mkdir()
    assert "empty" in cli.fails(3, "eval", path, "--data", "empty")
    for label in "0123456789":
        Path("empty", label).mkdir()
    assert "no images" in cli.fails(3, "eval", path, "--data", "empty")


@pytest.mark.parametrize("content", [b"", os.urandom(4096), b"PK\x03\x04" + bytes(100)])
def test_a_zip_that_is_none(cli: Cli, artifacts: Artifacts, content: bytes) -> None:
    (path,) = artifacts(FP32)
    Path("images.zip").write_bytes(content)
    assert "not a valid zip" in cli.fails(3, "eval", path, "--data", "images.zip")


def test_one_corrupt_image_is_named_and_not_counted(
    cli: Cli, artifacts: Artifacts, pictures: Pictures
) -> None:
    (path,) = artifacts(FP32)
    folder = pictures(2)
    broken = folder / "3" / "1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    done = cli.ok("eval", path, "--data", folder, "--json")
    (row,) = done.json["results"]
    assert row["n"] == 19
    assert row["data"]["corrupt"] == ["3/1.png"]
    assert "3/1.png" in done.err
    table = cli.ok("eval", path, "--data", folder).out
    assert "1 image could not be decoded: 3/1.png" in table
    assert " 19 " in table
    compared = cli.ok("compare", path, path, "--data", folder, "--json").json
    assert (compared["n"], compared["data"]["corrupt"]) == (19, ["3/1.png"])


def test_nothing_but_corrupt_images(cli: Cli, artifacts: Artifacts, pictures: Pictures) -> None:
    (path,) = artifacts(FP32)
    folder = pictures(1)
    for file in folder.rglob("*.png"):
        file.write_bytes(b"\x89PNG")
    done = cli.run("eval", path, "--data", folder)
    assert (done.code, done.out) == (3, "")
    assert "10 broken" in done.err.splitlines()[-1]


def test_a_zip_holds_what_the_folder_does(
    cli: Cli, artifacts: Artifacts, pictures: Pictures
) -> None:
    (path,) = artifacts(FP32)
    folder = pictures(2)
    with zipfile.ZipFile("images.zip", "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, f"val/{file.relative_to(folder)}")
    rows = [
        cli.ok("eval", path, "--data", data, "--json").json["results"][0]
        for data in (folder, "images.zip")
    ]
    assert rows[0]["data"]["sha256"] == rows[1]["data"]["sha256"]
    assert rows[0]["loss"] == rows[1]["loss"]


def test_no_class_in_common(cli: Cli, pictures: Pictures) -> None:
    Path("labels.txt").write_text("\n".join(f"class{k}" for k in range(10)))
    cli.ok("export", *MODEL, "--labels", "labels.txt")
    for data in (pictures(1), "digits"):
        assert "no class in common" in cli.fails(3, "eval", FP32, "--data", data)


def test_some_classes_that_the_model_has_not(cli: Cli, pictures: Pictures) -> None:
    Path("labels.txt").write_text("\n".join("0123456789"))
    cli.ok("export", *MODEL, "--labels", "labels.txt")
    folder = pictures(1, classes="0123x")
    assert "unknown to the model: x" in cli.fails(3, "eval", FP32, "--data", folder)
    some = pictures(1, classes="0123", name="some")
    assert cli.ok("eval", FP32, "--data", some, "--json").json["results"][0]["n"] == 4


def test_another_number_of_classes(cli: Cli, artifacts: Artifacts, pictures: Pictures) -> None:
    folder = pictures(1, classes="012")
    assert "3 classes, the model has 10" in cli.fails(3, "eval", *artifacts(FP32), "--data", folder)


def test_fewer_calibration_images_than_asked_for(
    cli: Cli, artifacts: Artifacts, pictures: Pictures
) -> None:
    (path,) = artifacts(FP32)
    said = cli.fails(3, "quantize", path, "--calib", pictures(2), "-n", "21")
    assert "21 images were requested" in said
    assert "only 20" in said


def test_calibration_images_are_no_evaluation_images(
    cli: Cli, artifacts: Artifacts, pictures: Pictures
) -> None:
    (path,) = artifacts(FP32)
    folder = pictures(2)
    made = cli.ok("quantize", path, "--calib", folder, "-n", "8", "--json").json["artifact"]
    for command in (("eval", made), ("compare", path, made)):
        said = cli.fails(4, *command, "--data", folder)
        assert "8 of the 20 evaluation images are also in the calibration set" in said
    # The same pictures under other names are the same pictures.
    folder.rename("renamed")
    Path("renamed/0").rename("renamed/zero")
    assert "calibration set" in cli.fails(4, "eval", made, "--data", "renamed")
    assert cli.ok("eval", made, "--data", "digits", "--limit", "10")


def test_more_images_than_there_are(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    said = cli.fails(3, "eval", path, "--data", "digits", "--limit", "603")
    assert "603 images were requested" in said
