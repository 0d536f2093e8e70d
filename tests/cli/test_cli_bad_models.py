"""Models and weights that cannot be: one line, the right exit code, nothing left behind."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from cli_calls import MODEL, Cli
from safetensors.torch import load_file, save_file


class Payload:
    """What a hostile pickle holds: a command that runs when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch ran",)


def weights_of(*args: object) -> tuple[object, ...]:
    return ("export", "edgenext_xx_small", "--size", "32", "--weights", *args)


def test_missing_weights(cli: Cli) -> None:
    assert "nowhere.pth" in cli.fails(3, *weights_of("nowhere.pth"))


def test_a_model_that_was_not_fetched(cli: Cli) -> None:
    said = cli.fails(3, "export", "edgenext_small")
    assert "edgenext fetch edgenext_small" in said
    said = cli.fails(2, "export")
    assert "export needs a model's name or --weights" in said and "edgenext fetch" in said


@pytest.mark.parametrize("content", [b"hello\n", b"", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_a_file_that_holds_no_weights(cli: Cli, content: bytes) -> None:
    Path("weights.pth").write_bytes(content)
    assert "weights.pth" in cli.fails(3, *weights_of("weights.pth"))


def test_a_folder_for_weights(cli: Cli) -> None:
    Path("weights.pth").mkdir()
    assert "is a folder" in cli.fails(3, *weights_of("weights.pth"))


@pytest.mark.parametrize("container", ["pickle", "torch", "torch state"])
def test_a_payload_is_not_run(cli: Cli, container: str) -> None:
    if container == "pickle":
        Path("evil.pth").write_bytes(pickle.dumps(Payload()))
    else:
        inner = (
            Payload() if container == "torch" else {"head.weight": torch.zeros(1), "x": Payload()}
        )
        torch.save({"model_ema": inner}, "evil.pth")
    for command in (weights_of("evil.pth"), ("stress", "--weights", "evil.pth")):
        assert "evil.pth" in cli.fails(3, *command)
    assert not Path("ran").exists()


def test_weights_of_another_architecture(cli: Cli, weights: Path) -> None:
    said = cli.fails(3, "export", "edgenext_small", "--weights", weights)
    assert "does not fit edgenext_small" in said
    assert said.endswith("The weights fit edgenext_xx_small")


def test_weights_with_too_little_or_too_much(cli: Cli, weights: Path) -> None:
    state = load_file(weights)
    gone = state.pop("stages.3.1.xca.proj.weight")
    save_file(state | {"surplus": gone}, "odd.safetensors")
    said = cli.fails(3, *weights_of("odd.safetensors"))
    assert "1 missing (stages.3.1.xca.proj.weight)" in said
    assert "1 unexpected (surplus)" in said


def test_another_class_count(cli: Cli, weights: Path) -> None:
    said = cli.fails(3, *weights_of(weights, "--num-classes", "7"))
    assert "10 classes, not 7" in said
    assert "--reset-head" in said
    cli.ok(*weights_of(weights, "--num-classes", "7", "--reset-head"))


def test_a_file_that_is_cut_short(cli: Cli, weights: Path) -> None:
    Path("cut.safetensors").write_bytes(weights.read_bytes()[:-1000])
    assert "cut short" in cli.fails(3, *weights_of("cut.safetensors"))


def test_weights_that_are_not_finite(cli: Cli, weights: Path) -> None:
    state = load_file(weights)
    state["norm.bias"][3] = float("nan")
    save_file(state, "diverged.safetensors")
    for command in (
        weights_of("diverged.safetensors"),
        ("quantize", "edgenext_xx_small", "--weights", "diverged.safetensors", "--calib", "digits"),
        ("eval", "edgenext_xx_small", "--weights", "diverged.safetensors", "--data", "digits"),
    ):
        assert "NaN or infinite values in 1 tensors: norm.bias" in cli.fails(3, *command)


def test_a_sidecar_that_is_none(cli: Cli, weights: Path) -> None:
    Path("w.safetensors").write_bytes(weights.read_bytes())
    Path("w.json").write_text("{")
    assert "w.json" in cli.fails(3, *weights_of("w.safetensors"))


def test_labels_that_do_not_fit(cli: Cli) -> None:
    Path("labels.txt").write_text("cat\ndog\n")
    assert "2 labels" in cli.fails(3, "export", *MODEL, "--labels", "labels.txt")
    assert "nowhere.txt" in cli.fails(3, "export", *MODEL, "--labels", "nowhere.txt")


@pytest.mark.parametrize(
    "command",
    [
        ["export", "edgenext_smal"],
        ["fetch", "edgenext_smal"],
        ["quantize", "edgenext_smal", "--calib", "digits"],
        ["eval", "edgenext_smal", "--data", "digits"],
        ["train", "edgenext_smal", "--data", "digits"],
        ["run", "edgenext_smal", "--data", "digits"],
        ["stress", "edgenext_smal"],
    ],
    ids=lambda command: command[0],
)
def test_an_unknown_model_names_the_nearest(cli: Cli, command: list[str]) -> None:
    said = cli.fails(2, *command)
    assert "'edgenext_smal'" in said
    assert "Did you mean edgenext_small or " in said


def test_weights_in_place_of_a_model(cli: Cli, weights: Path) -> None:
    assert "--weights" in cli.fails(2, "export", weights)
    assert "--weights" in cli.fails(3, "eval", weights, "--data", "digits")
    assert "--weights" in cli.fails(3, "quantize", weights, "--calib", "digits")


RANDOM = ("edgenext_xx_small", "--random-weights", "--num-classes", "10")
CALIB = ("--calib", "digits", "-n", "8")
WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "size": (("export", *RANDOM, "--size", "16"), "32 pixels"),
    "no size": (("export", *RANDOM, "--size", "0"), "32 pixels"),
    "crop": (("export", *RANDOM, "--size", "32", "--crop-pct", "1.5"), "1.5"),
    "exif": (("eval", *MODEL, "--data", "digits", "--exif", "aply"), "Did you mean apply"),
    "opset": (("export", *MODEL, "--opset", "9"), "13 to 23"),
    "batch": (("export", *MODEL, "--batch", "0"), "1 or more, or dynamic"),
    "batch word": (("export", *MODEL, "--batch", "any"), "1 or more, or dynamic"),
    "format": (("export", *MODEL, "--format", "onxn"), "Did you mean onnx"),
    "target": (("export", *MODEL, "--target", "cpu-onnxruntme"), "Did you mean cpu-onnxruntime"),
    "classes": (("export", "edgenext_xx_small", "--random-weights", "--num-classes", "0"), "class"),
    "both weights": (("export", *MODEL, "--weights", "w.pth"), "cannot be used together"),
    "no calibration": (("quantize", *MODEL), "--calib"),
    "no calibration image": (("quantize", *MODEL, "--calib", "digits", "-n", "0"), "at least 1"),
    "scheme": (("quantize", *MODEL, *CALIB, "--scheme", "w8a8"), "w8a8-static"),
    "quantize target": (("quantize", *MODEL, *CALIB, "--target", "npu"), "cpu-onnxruntime"),
    "engine": (("quantize", *MODEL, *CALIB, "--engine", "onnxrt"), "Did you mean onnxruntime"),
    "engine first": (("quantize", *MODEL, "--calib", "none", "--engine", "x"), "unknown engine"),
    "stress file": (("stress", *RANDOM, "-o", "twin.pth"), ".safetensors"),
    "stress": (("stress", *RANDOM, "--strength", "nan"), "2^nan"),
    "seed": (("quantize", *MODEL, *CALIB, "--seed", "-1"), "'--seed'"),
    "weight seed": (("export", *MODEL, "--weight-seed", "-1"), "'--weight-seed'"),
    "epochs": (("train", "edgenext_xx_small", "--data", "digits", "--epochs", "0"), "epochs"),
    "rate": (("train", "edgenext_xx_small", "--data", "digits", "--lr", "nan"), "lr"),
    "limit": (("eval", *MODEL, "--data", "digits", "--limit", "0"), "at least 1"),
    "budget": (("report", ".", "--max-drop", "nan"), "is not a number of points"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_an_option_that_cannot_be(cli: Cli, case: str) -> None:
    args, says = WRONG[case]
    assert says in cli.fails(2, *args)


def test_a_recipe_that_is_none(cli: Cli) -> None:
    how = ("quantize", *MODEL, *CALIB, "--recipe", "recipe.toml")
    assert "recipe.toml" in cli.fails(3, *how)
    Path("recipe.toml").write_text("scheme: w8")
    assert "is not TOML" in cli.fails(3, *how)
    Path("recipe.toml").write_text('target = "cpu-onnxruntime"\nshceme = "w8a8-static"')
    assert "recipe.toml" in cli.fails(2, *how)
