"""`edgenext quantize` with its targets, schemes, engines and recipes, and what can go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_calls import FP32, INT8, MODEL, NAME, PLAIN, Cli
from PIL import Image

Artifacts = Callable[..., list[Path]]
CALIB = ("--calib", "digits", "-n", "8")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("--scheme", "w8a8-dynamic"), "w8a8-dynamic"),
        (("--scheme", "w8-weight-only"), "w8-weight-only"),
        (("--target", "jetson", *CALIB), "jetson-w8a8-static"),
        (("--target", "htp", "--scheme", "w8a16-static", *CALIB), "htp-w8a16-static"),
        (("--target", "jetson", "--scheme", "fp16"), "jetson-fp16"),
        (("--engine", "onnxruntime", *CALIB), "w8a8-static-onnxruntime"),
        (("--scheme", "w4a8-static", *CALIB, "--qat", "1", "--qat-n", "32"), "w4a8-static-qat"),
    ],
)
def test_what_can_be_made(cli: Cli, options: tuple[str, ...], name: str) -> None:
    row = cli.ok("quantize", *MODEL, *options, "--json").json
    assert row["artifact"] == f"{NAME}-{name}.onnx"
    assert Path(row["artifact"]).is_file() and Path(row["manifest"]).is_file()
    assert row["parity"]["sqnr_db"] > 10
    (scored,) = cli.ok("eval", row["artifact"], "--data", "digits", "--json").json["results"]
    assert scored["scheme"] == row["scheme"]


def test_the_manifest_names_what_stayed_float_and_why(cli: Cli) -> None:
    cli.ok("quantize", *MODEL, *CALIB)
    kept = json.loads(Path(f"{INT8}.json").read_text())["kept_float"]
    assert "noise" in kept["downsample_layers.0.0"]
    assert "no integer kernels" in kept["stages.1.1.xca"]
    assert "stages.1.1.xca.qkv" not in kept


def test_schemes_that_a_target_cannot_run(cli: Cli) -> None:
    said = cli.fails(2, "quantize", *MODEL, "--target", "ethos-u", "--scheme", "fp16")
    assert "ethos-u cannot run fp16: the NPU has no float arithmetic" in said
    said = cli.fails(
        2, "quantize", *MODEL, *CALIB, "--target", "ethos-u", "--scheme", "w8a16-static"
    )
    assert "tflite for ethos-u does not support w8a16-static: the NPU has no 16-bit GELU" in said
    said = cli.fails(2, "export", *MODEL, "--target", "ethos-u", "--format", "tflite")
    assert "tflite for ethos-u does not support fp32: the NPU has no float arithmetic" in said
    assert "w8a8-static" in cli.fails(2, "quantize", *MODEL, "--scheme", "w8a8static")
    assert "jetson" in cli.fails(2, "quantize", *MODEL, *CALIB, "--target", "jetsen")
    said = cli.fails(2, "quantize", *MODEL, "--engine", "onnxruntime", "--scheme", "w8-weight-only")
    assert "makes w8a8-static only" in said


def test_what_cannot_be_trained(cli: Cli) -> None:
    said = cli.fails(2, "quantize", *MODEL, "--scheme", "w8-weight-only", "--qat", "1")
    assert "w8-weight-only cannot be trained with --qat" in said
    assert "needs calibration images" in cli.fails(2, "quantize", *MODEL, "--qat", "1")
    assert "Give --qat EPOCHS" in cli.fails(2, "quantize", *MODEL, *CALIB, "--qat-lr", "0.01")
    said = cli.fails(2, "quantize", *MODEL, *CALIB, "--qat", "1", "--engine", "onnxruntime")
    assert "not that of onnxruntime" in said
    said = cli.fails(3, "quantize", *MODEL, *CALIB, "--qat", "1", "--qat-data", "no/such/folder")
    assert "no/such/folder" in said
    said = cli.fails(2, "quantize", *MODEL, *CALIB, "--target", "jetson", "--scheme", "w4a8-static")
    assert "TensorRT has int4 weights for matrix products alone" in said


def test_static_needs_images_and_others_say_that_they_do_not(cli: Cli) -> None:
    assert "needs calibration images" in cli.fails(2, "quantize", *MODEL)
    done = cli.ok("quantize", *MODEL, "--scheme", "w8-weight-only", "--calib", "digits")
    assert "needs no calibration" in done.err


def test_mistakes_in_a_recipe(cli: Cli) -> None:
    recipe = Path("mine.toml")
    text = """
target = "cpu-onnxruntime"
scheme = "w8a8-static"
reason = "mine"
[weights]
reason = "mine"
[activations]
reason = "mine"
[sites]
quantize = ["pointwise", "depthwise"]
reason = "mine"
[sites.keep_float]
"stages.2.9.pwconv1" = "there is none"
"""
    recipe.write_text(text)
    said = cli.fails(2, "quantize", *MODEL, *CALIB, "--recipe", recipe)
    assert "unknown site 'stages.2.9.pwconv1'" in said and "Did you mean stages.2." in said
    recipe.write_text(text.replace("2.9", "2.1").replace("quantize =", "quantise ="))
    said = cli.fails(2, "quantize", *MODEL, *CALIB, "--recipe", recipe)
    assert "'quantise'" in said and "Did you mean quantize" in said
    recipe.write_text(text.replace("2.9", "2.1"))
    cli.ok("quantize", *MODEL, *CALIB, "--recipe", recipe)
    kept = json.loads(Path(f"{INT8}.json").read_text())["kept_float"]
    assert kept["stages.2.1.pwconv1"] == "there is none"


def test_poor_calibration_images_are_warned_of(cli: Cli) -> None:
    folder = Path("flat") / "0"
    folder.mkdir(parents=True)
    for k in range(3):
        pixels = np.full((40, 40, 3), 80 * k, np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    done = cli.ok("quantize", *MODEL, "--calib", "flat", "-n", "1")
    assert "calibrated on 1 image" in done.err and "of one colour" in done.err
    assert "unlike those the network was trained on" in done.err
    warnings = json.loads(Path(f"{INT8}.json").read_text())["warnings"]
    assert len(warnings) >= 3


def test_weights_that_are_no_numbers(cli: Cli, weights: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(weights)
    state["stages.2.1.pwconv1.weight"][0, 0] = float("nan")
    save_file(state, "broken.safetensors")
    said = cli.fails(3, "quantize", "edgenext_xx_small", "--weights", "broken.safetensors", *CALIB)
    assert "stages.2.1.pwconv1.weight" in said


def test_a_plain_or_quantized_file_cannot_be_quantized(cli: Cli, artifacts: Artifacts) -> None:
    plain, int8 = artifacts(PLAIN, INT8)
    assert "not folded" in cli.fails(3, "quantize", plain, *CALIB)
    assert "quantized already" in cli.fails(3, "quantize", int8, *CALIB)


SITES = ("--site", "stages.1.1*", "--limit", "8")


def test_sensitivity(cli: Cli, artifacts: Artifacts) -> None:
    done = cli.ok("sensitivity", *MODEL, *CALIB, *SITES, "-o", "out", "--json")
    rows = {row["site"]: row for row in done.json["rows"]}
    assert {"stages.1.1.xca", "stages.1.1.act", "stages.1.1.add", "stages.1.1.norm"} <= rows.keys()
    assert rows["stages.1.1.xca"]["kept"] and not rows["stages.1.1.pwconv1"]["kept"]
    assert all(row["only"]["sqnr_db"] > done.json["recipe"]["sqnr_db"] for row in rows.values())
    assert {p.name for p in Path("out").iterdir()} == {
        "sensitivity.json", "sensitivity.png", "sensitivity.svg",
    }  # fmt: skip
    table = cli.ok("sensitivity", *MODEL, *CALIB, *SITES).out
    assert "stages.1.1.xca.qkv" in table and "% of noise" in table
    (path,) = artifacts(FP32)
    again = cli.ok("sensitivity", path, *CALIB, *SITES, "--data", "digits", "--json").json
    assert again["rows"][0]["only"]["top1"] is not None


@pytest.mark.campaign
def test_sensitivity_is_remembered(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgenext.quantize import sensitivity

    first = cli.ok("sensitivity", *MODEL, *CALIB, *SITES, "--json").json

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing needs to be calibrated")

    monkeypatch.setattr(sensitivity, "prepare_graph", forbidden)
    assert cli.ok("sensitivity", *MODEL, *CALIB, *SITES, "--json").json == first


def test_sensitivity_of_what_cannot_be(cli: Cli, artifacts: Artifacts) -> None:
    said = cli.fails(2, "sensitivity", *MODEL, *CALIB, "--site", "stages.1.1.pwconv3")
    assert "Did you mean stages.1.1.pwconv" in said
    assert "no sites" in cli.fails(2, "sensitivity", *MODEL, "--scheme", "w8-weight-only")
    (int8,) = artifacts(INT8)
    assert "quantized already" in cli.fails(3, "sensitivity", int8, *CALIB, *SITES)
