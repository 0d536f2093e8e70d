"""Mistaken input: each ends in one line that names the thing and says what to give instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_calls import FP32, INT8, MODEL, NAME, Cli

from edgenext.cli.group import examples

Artifacts = Callable[..., list[Path]]
Pictures = Callable[..., Path]


@pytest.mark.parametrize(
    ("args", "needs"),
    [
        ("compare", "BASE, OTHER and --data"),
        ("eval", "MODEL|ARTIFACT and --data"),
        ("predict", "MODEL|ARTIFACT and IMAGE"),
        ("run", "CONFIG.toml|MODEL"),
        ("train", "--data"),
        ("search", "--data and --calib"),
        ("diff", "A, B and --data"),
        ("diff a", "B and --data"),
        ("profile", "ARTIFACT"),
        ("check", "ARTIFACT"),
        ("fetch", "CHECKPOINT"),
        ("env", "NAME"),
        ("devices add", "NAME"),
        ("export --format coreml", "a model's name or --weights"),
        ("quantize", "a model's name or --weights, and --calib"),
        ("quantize --scheme w8a8-dynamic", "a model's name or --weights"),
        ("sensitivity", "a model's name or --weights, and --calib"),
        ("stress", "a model's name or --weights"),
    ],
)
def test_a_bare_command_says_what_it_needs(cli: Cli, args: str, needs: str) -> None:
    error = cli.fails(2, *args.split())
    command = args.partition(" --")[0].removesuffix(" a")
    assert error.startswith(f"edgenext: {command} needs {needs}. For example: edgenext {command} ")


@pytest.mark.parametrize("command", ["bench", "report", "verify"])
def test_what_takes_the_newest_run_says_that_there_is_none(cli: Cli, command: str) -> None:
    error = cli.fails(2, command)
    assert f"no finished run is here. For example: {examples()[command][0]}" in error


def test_examples_use_what_is_here(
    cli: Cli, artifacts: Artifacts, pictures: Pictures, weights: Path
) -> None:
    error = cli.fails(2, "export", "--format", "coreml")
    assert "For example: edgenext export --format coreml --weights mine.pth; " in error
    assert error.endswith("`edgenext fetch edgenext_small` downloads published ones")
    artifacts(FP32, INT8)
    folder = pictures(1, name="my photos")
    Path("ten.safetensors").write_bytes(weights.read_bytes())
    Path("other.json").write_text("[]")  # no manifest
    Path("other").touch()
    example = f"For example: edgenext compare {FP32} {INT8} --data '{folder}/'"
    assert cli.fails(2, "compare").endswith(example)
    error = cli.fails(2, "quantize", "--target", "coreml")
    assert error.endswith(
        "For example: edgenext quantize --target coreml --weights ten.safetensors "
        f"--calib '{folder}/'"
    )
    assert f"edgenext search --weights ten.safetensors --calib '{folder}/'" in cli.fails(
        2, "search"
    )


def test_examples_use_the_newest_run_and_what_was_fetched(cli: Cli, ran: Path) -> None:
    assert f"edgenext profile {ran}/artifacts/{INT8}" in cli.fails(2, "profile")
    Path("cache/weights").mkdir(parents=True, exist_ok=True)
    Path("cache/weights/edgenext_x_small.pth").touch()
    error = cli.fails(2, "search")
    assert "For example: edgenext search edgenext_x_small --calib" in error
    done = cli.ok("verify")
    assert f"of the newest run here: {ran}" in done.err and "hashes of" in done.out
    done = cli.ok("report")
    assert done.out.splitlines()[-1].startswith(f"{ran}/report.")


def test_a_device_is_looked_for_before_files(cli: Cli) -> None:
    error = cli.fails(2, "bench", "--device", "jetson")
    assert "no device of kind jetson was added. Add one" in error
    assert error.endswith("Add one: edgenext devices add my-jetson --ssh user@host")
    cli.ok("devices", "add", "box", "--local")
    error = cli.fails(2, "bench", "--device", "jetson")
    assert "no device of kind jetson was added (box is linux)" in error


def test_arguments_in_the_wrong_order(cli: Cli, artifacts: Artifacts, pictures: Pictures) -> None:
    (path,) = artifacts(FP32)
    folder, data = pictures(1), ("--data", "digits")
    Path("notes.txt").write_text("hello")
    image = folder / "0" / "0.png"
    wrong: dict[tuple[object, ...], tuple[int, str]] = {
        ("eval", folder, *data): (3, f"{folder} is a folder, neither a model nor an artifact"),
        ("eval", "digits", "--data", path): (3, "digits is neither a model nor an artifact"),
        ("predict", image, path): (3, f"{image} is neither a model nor an artifact"),
        ("eval", path, "--data", "notes.txt"): (3, "Give a folder or zip of class folders"),
        ("eval", path, "--data", image): (3, f"{image} is an image, not a data set"),
        ("export", path): (2, "is a file, not a model's name. It is made of weights"),
        ("export", "notes.txt"): (2, "Name a model, or give --weights FILE"),
        ("export", folder): (2, "Images are given with --data or --calib"),
        ("run", folder): (2, f"edgenext run edgenext_xx_small --data {folder}"),
        ("run", path, *data): (2, f"{path} is neither a run's TOML file nor the name of a model"),
        ("bench", folder): (3, f"{folder} is a folder, not an artifact"),
        ("bench", "edgenext_xx_small-32-fp23.onnx"): (3, f"Did you mean {FP32}?"),
        ("report", path): (3, f"{path} is a file, not the folder of a run"),
        ("report", "imges"): (3, "imges is not there, not the folder of a run. Did you mean imag"),
        ("search", path, "--calib", "digits", *data, "--rounds", "0"): (2, "--rounds 0 is too"),
        ("sensitivity", path, "--calib", "digits", "-n", "4", "--limit", "4", "--site", "x"): (
            2, "and 71 more",
        ),
    }  # fmt: skip
    for args, (code, says) in wrong.items():
        assert says in cli.fails(code, *args)


def test_names_in_any_script(cli: Cli, artifacts: Artifacts, pictures: Pictures) -> None:
    (path,) = artifacts(FP32)
    folder = pictures(1, ("日本", "café", "a b"), name="foto's ü")
    assert "has 3 classes, the model has 10" in cli.fails(3, "eval", path, "--data", folder)
    done = cli.ok("predict", path, folder / "café", "--top", "1")
    assert done.out.splitlines()[0] == f"{folder}/café/0.png"
    made = cli.ok("export", *MODEL, "-o", "Größe/模型", "--json").json
    assert made["artifact"] == f"Größe/模型/{FP32}" and Path(made["artifact"]).is_file()
    assert made["format"] == "onnx" and NAME in made["artifact"]


def test_a_place_that_cannot_be_written_is_found_first(cli: Cli, artifacts: Artifacts) -> None:
    files = artifacts(FP32, INT8)
    compare = ("compare", *files, "--data", "digits", "--limit", "20")
    missing = "/proc/nowhere/results"
    for flag in ("--csv", "--parquet"):
        assert f"cannot write {missing}" in cli.fails(6, *compare, flag, missing)
