"""Formats other than ONNX, from the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cli_calls import MODEL, Cli, Outcome
from conversions import SharedConversions
from private import private_python

from edgenext.formats.artifact import open_artifact

DIGITS = ("--data", "digits", "--limit", "40")
STATIC = ("--scheme", "w8a8-static", "--calib", "digits", "-n", "16")


@pytest.fixture(scope="module")
def tflite() -> None:
    private_python("tflite")


def does(cli: Cli, *args: object) -> Outcome:
    """A command that must succeed."""
    done = cli.run(*args)
    assert done.code == 0, done
    return done


@pytest.mark.slow
@pytest.mark.usefixtures("tflite")
def test_several_formats_in_one_call(cli: Cli) -> None:
    done = does(
        cli,
        "export",
        *MODEL,
        "--format",
        "onnx",
        "--format",
        "tflite",
        "--format",
        "coreml",
        "--json",
    )
    rows = json.loads(done.out)
    assert [row["format"] for row in rows] == ["onnx", "tflite", "coreml"]
    for row in rows:
        path = Path(row["artifact"])
        assert open_artifact(path).manifest.sha256 == row["sha256"]
        assert row["parity"]["sqnr_db"] > 90 and row["parity"]["agreement"] == 100
        assert set(row["parity"]["stages"]) == {"stem", "stage1", "stage2", "stage3", "stage4"}
    tflite, coreml = rows[1]["conversion"], rows[2]["conversion"]
    assert tflite["partitions"] == 1 and tflite["operators"]["TRANSPOSE"] <= 12
    assert tflite["seconds"] > 0 and coreml["peak_mb"] > 0
    files = [row["artifact"] for row in rows]
    compared = does(cli, "compare", *files, *DIGITS, "--json").json
    assert [other["agreement"] for other in compared["others"]] == [100, 100]
    assert [other["evidence"] for other in compared["others"]] == ["host", "emulated"]
    emulated = cli.fails(2, "bench", files[2], "--rounds", "1")
    assert "is not that of a device" in emulated


@pytest.mark.campaign
@pytest.mark.usefixtures("tflite")
@pytest.mark.parametrize("kind", ["tflite", "coreml"])
def test_quantized_files_are_the_same_each_time(
    cli: Cli, conversions: SharedConversions, kind: str
) -> None:
    row = does(cli, "export", *MODEL, "--format", kind, *STATIC, "--json").json
    assert row["parity"]["sqnr_db"] > 20
    with conversions.fresh():
        again = does(cli, "verify", row["artifact"], "--rebuild", "--calib", "digits")
    assert "the same bytes" in again.out
    manifest = open_artifact(Path(row["artifact"])).manifest
    assert manifest.calibration and manifest.recipe and manifest.engine == "edgenext"
    assert len(manifest.sites) > 60


@pytest.mark.campaign
@pytest.mark.usefixtures("tflite")
def test_integers_at_both_ends(cli: Cli) -> None:
    row = does(cli, "export", *MODEL, "--format", "tflite", "--integer-io", *STATIC, "--json").json
    manifest = open_artifact(Path(row["artifact"])).manifest
    assert (manifest.input.dtype, manifest.outputs[0].dtype) == ("int8", "int8")
    assert manifest.input.scale and manifest.input.channels_last
    assert does(cli, "eval", row["artifact"], *DIGITS).code == 0


@pytest.mark.campaign
@pytest.mark.usefixtures("tflite")
@pytest.mark.parametrize("scheme", ["fp16", "w8-weight-only", "w8a8-dynamic"])
def test_schemes_of_tflite_without_calibration(cli: Cli, scheme: str) -> None:
    row = does(cli, "export", *MODEL, "--format", "tflite", "--scheme", scheme, "--json").json
    assert row["parity"]["sqnr_db"] > 25
    assert row["scheme"] == scheme


@pytest.mark.slow
def test_an_image_in_and_labels_out(cli: Cli) -> None:
    (cli.folder / "labels.txt").write_text("".join(f"n{i} same\n" for i in range(10)))
    row = does(
        cli, "export", *MODEL, "--labels", "labels.txt", "--format", "coreml", "--image-input",
        "--ios", "18", "--scheme", "fp16", "--json",
    ).json  # fmt: skip
    manifest = open_artifact(Path(row["artifact"])).manifest
    assert manifest.input.dtype == "uint8"
    assert manifest.class_names and len(set(manifest.class_names)) == 10
    assert row["parity"]["agreement"] == 100


@pytest.mark.campaign
@pytest.mark.parametrize("scheme", ["fp32", "w8a8-static", "w8-weight-only", "w4-palettized"])
def test_an_image_input_in_every_kind_of_scheme(cli: Cli, scheme: str) -> None:
    (cli.folder / "labels.txt").write_text("".join(f"n{i:08}\tthing {i}\n" for i in range(10)))
    calibration = STATIC[2:] if scheme == "w8a8-static" else ()
    row = does(
        cli, "export", *MODEL, "--labels", "labels.txt", "--format", "coreml", "--image-input",
        "--scheme", scheme, *calibration, "--json",
    ).json  # fmt: skip
    manifest = open_artifact(Path(row["artifact"])).manifest
    assert manifest.input.dtype == "uint8"
    assert manifest.labels == tuple(f"n{i:08}" for i in range(10))
    assert manifest.class_names == tuple(f"thing {i}" for i in range(10))
    assert row["conversion_parity"]["sqnr_db"] > 10


@pytest.mark.campaign
@pytest.mark.usefixtures("tflite")
def test_the_cpu_takes_the_default_int8_file_whole(cli: Cli) -> None:
    row = does(cli, "export", *MODEL, "--format", "tflite", *STATIC, "--json").json
    done = cli.ok("check", row["artifact"])
    assert "accepted, all of it on the CPU: xnnpack runs all but" in done.out
    assert "GELU: XNNPACK leaves it to the builtin kernels, on the same CPU" in done.out


@pytest.mark.campaign
@pytest.mark.usefixtures("tflite")
@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("tflite", "fp32"),
        ("tflite", "w8a8-static"),
        ("tflite", "w8a8-dynamic"),
        ("openvino", "fp32"),
        ("openvino", "w8a8-static"),
    ],
)
def test_pixels_as_inputs(cli: Cli, name: str, scheme: str) -> None:
    calibration = STATIC[2:] if scheme == "w8a8-static" else ()
    row = does(
        cli, "export", *MODEL, "--format", name, "--uint8-input", "--scheme", scheme,
        *calibration, "--json",
    ).json  # fmt: skip
    assert open_artifact(Path(row["artifact"])).manifest.input.dtype == "uint8"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "bytes_a_weight"),
    [
        pytest.param("w8-weight-only", 1, marks=pytest.mark.campaign),
        pytest.param("w6-palettized", 0.75, marks=pytest.mark.campaign),
        pytest.param("w4-palettized", 0.5, marks=pytest.mark.campaign),
    ],
)
def test_compressed_weights_of_core_ml(cli: Cli, scheme: str, bytes_a_weight: float) -> None:
    row = does(cli, "export", *MODEL, "--format", "coreml", "--scheme", scheme, "--json").json
    assert row["size_bytes"] < bytes_a_weight * 1_160_000 + 250_000


@pytest.mark.campaign
def test_the_oldest_ios(cli: Cli) -> None:
    row = does(cli, "export", *MODEL, "--format", "coreml", "--ios", "15", "--json").json
    assert row["parity"]["sqnr_db"] > 90


@pytest.mark.campaign
def test_the_form_is_chosen_by_measuring(cli: Cli) -> None:
    done = does(cli, "export", *MODEL, "--tune", "--json")
    taken = done.json["form"]
    assert taken in ("convT", "convC")
    assert f"{taken} is taken" in done.err
    assert "cannot be measured here" in cli.fails(
        2, "export", *MODEL, "--tune", "--format", "coreml"
    )


def test_formats_and_options_that_cannot_be(cli: Cli) -> None:
    export = ("export", *MODEL)
    assert "Did you mean coreml" in cli.fails(2, *export, "--format", "corelm")
    assert "has no option ios" in cli.fails(2, *export, "--format", "tflite", "--ios", "17")
    assert "fixed batch" in cli.fails(2, *export, "--format", "coreml", "--batch", "dynamic")
    assert "has no backbones" in cli.fails(
        2, *export, "--format", "tflite", "--target", "ethos-u", "--features"
    )
    assert "takes opset 13 at most" in cli.fails(
        2, *export, "--format", "tensorrt", "--jetpack", "4", "--opset", "17"
    )
    assert "cannot run bf16" in cli.fails(2, *export, "--format", "tflite", "--scheme", "bf16")
    assert "needs calibration images" in cli.fails(
        2, *export, "--format", "coreml", "--scheme", "w8a8-static"
    )
    assert "no integer inputs" in cli.fails(2, *export, "--format", "tflite", "--integer-io")


def test_calibration_images_that_nothing_needs_are_said_to_be_ignored(cli: Cli) -> None:
    done = does(cli, "export", *MODEL, "--calib", "digits")
    assert "fp32 needs no calibration" in done.err


def test_a_missing_environment_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGENEXT_ENVIRONMENTS", str(cli.folder / "none"))
    said = cli.fails(8, "export", *MODEL, "--format", "tflite")
    assert "edgenext env tflite" in said
    assert "edgenext env tensorflow" in cli.fails(
        8, "export", *MODEL, "--format", "tflite", "--converter", "tensorflow"
    )
    old = cli.run("export", *MODEL, "--format", "tflite", "--engine", "tensorflow")
    assert old.code == 8 and "--engine is called --converter now" in old.err


def test_environments_that_there_are_none_of(cli: Cli) -> None:
    assert "needs no environment of its own" in cli.fails(2, "env", "coreml")
    assert "Did you mean tflite" in cli.fails(2, "env", "tflit")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(cli: Cli) -> None:
    (cli.folder / "locked").mkdir(mode=0o500)
    cli.fails(6, "export", *MODEL, "--format", "coreml", "-o", "locked")


def test_a_package_where_a_file_stands(cli: Cli) -> None:
    (cli.folder / "edgenext_xx_small-32-fp32.mlpackage").write_text("mine")
    assert "cannot write" in cli.fails(6, "export", *MODEL, "--format", "coreml")


def test_a_package_takes_the_place_of_an_older_one(cli: Cli) -> None:
    first = does(cli, "export", *MODEL, "--format", "coreml", "--json").json
    Path(first["artifact"], "stray").write_text("left over")
    assert "is not the file of its manifest" in cli.fails(3, "eval", first["artifact"], *DIGITS)
    again = does(cli, "export", *MODEL, "--format", "coreml", "--json").json
    assert again["sha256"] == first["sha256"]
    assert not Path(first["artifact"], "stray").exists()


def test_a_file_that_does_not_agree_is_not_left(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgenext.export.gate import Gate

    monkeypatch.setattr(Gate, "least_db", 1000.0)
    said = cli.fails(5, "export", *MODEL, "--format", "coreml")
    assert "stem is the first to diverge" in said
