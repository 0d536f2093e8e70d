"""`verify`: one changed byte is named, and files are made again byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from changed_files import changed_byte, require_named, require_no_path
from cli_calls import FEATURES, FP32, INT8, PLAIN, Cli, tree

from edgenext import api
from edgenext.formats.artifact import manifest_path, open_artifact, write_manifest
from edgenext.formats.format import FORMATS
from edgenext.schema import BenchReport
from edgenext.schema.seal import sealed
from edgenext.system.sums import SUMS, read_sums, write_sums

WEIGHTS = ("--size", "32")
RANDOM: dict[str, Any] = {"random_weights": True, "num_classes": 10, "size": 32}


def test_one_changed_byte_of_a_run_is_named(cli: Cli, ran: Path) -> None:
    measured = BenchReport.model_validate_json((ran / "bench.json").read_bytes())
    device = ran / "devices" / "board.json"  # as `bench --device board -o` writes it
    device.parent.mkdir()
    device.write_bytes(sealed(measured, "report_sha256"))
    cli.ok("report", ran)
    done = cli.ok("verify", ran)
    assert "hashes" in done.out and "no hash is recorded" not in done.out
    files = [path for path in sorted(ran.rglob("*")) if path.is_file()]
    assert len(files) == 21
    for path in files:
        require_named(ran, path, 1 if path.stat().st_size > 100_000 else 3)
    with changed_byte(ran / "artifacts" / INT8, 1000):
        said = cli.run("verify", ran)
    assert said.code == 12 and f"artifacts/{INT8} was changed" in said.out
    assert said.err.startswith("edgenext: demo is not what its records say")
    assert len(said.err.splitlines()) == 1


def test_records_that_contradict_each_other(cli: Cli, ran: Path) -> None:
    path = ran / "run.json"
    summary = json.loads(path.read_text())
    summary["bench"]["results"][1]["n"] += 1
    path.write_text(json.dumps(summary))
    write_sums(ran, [path], keep=True)
    problems = {(p.file, p.by) for p in api.verify(ran).problems}
    assert problems == {("bench.json", "run.json"), ("report.json", "run.json")}
    shutil.copy(ran / "artifacts" / PLAIN, ran / "artifacts" / FP32)
    assert {"SHA256SUMS", "stages.json", f"artifacts/{FP32}.json", "run.json"} == {
        p.by for p in api.verify(ran).problems if p.file == f"artifacts/{FP32}"
    }


def test_files_of_which_nothing_is_known(cli: Cli, ran: Path) -> None:
    (ran / "notes.txt").write_text("mine")
    assert api.verify(ran).uncovered == ("notes.txt",) and api.verify(ran).sound
    (ran / SUMS).unlink()
    assert "run.json" in api.verify(ran).uncovered
    (ran / "predictions.npz").unlink()
    (problem,) = api.verify(ran).problems
    assert (problem.file, problem.problem) == ("predictions.npz", "is missing")
    assert "no hash of" in cli.fails(3, "verify", ran / "notes.txt")
    assert "nothing at" in cli.fails(3, "verify", "nowhere")
    assert "Only an artifact" in cli.fails(2, "verify", ran, "--rebuild")


def test_one_changed_byte_of_an_artifact_is_named(
    cli: Cli, artifacts: Callable[..., list[Path]]
) -> None:
    (path,) = artifacts(INT8)
    assert "made from" in cli.ok("verify", path).out
    require_named(path, path, 5)
    require_named(path, manifest_path(path), 150)
    assert "says" in cli.run("verify", f"{path}.json", "--json").out or api.verify(path).sound
    plain = open_artifact(path).manifest.model_copy(update={"manifest_sha256": ""})
    manifest_path(path).write_text(plain.model_dump_json())  # as an earlier version wrote it
    report = api.verify(path)
    assert report.sound and "no hash of itself" in report.notes[0]


def test_what_an_artifact_was_made_from(
    cli: Cli, weights: Path, artifacts: Callable[..., list[Path]], pictures: Callable[..., Path]
) -> None:
    cli.ok("export", "--weights", weights, *WEIGHTS)
    file = "ten-32-fp32.onnx"
    assert "--weights compares it" in cli.ok("verify", file).out
    cli.ok("verify", file, "--weights", weights)
    Path("other.safetensors").write_bytes(weights.read_bytes() + b"x")
    said = cli.run("verify", file, "--weights", "other.safetensors")
    assert (
        said.code == 12 and "other.safetensors was changed, says ten-32-fp32.onnx.json" in said.out
    )
    _, float_file = artifacts(INT8, FP32)
    cli.ok("verify", INT8, "--calib", "digits")
    with changed_byte(float_file, 100):
        assert f"{FP32} was changed, says {INT8}.json" in cli.run("verify", INT8).out
    said = cli.run("verify", INT8, "--calib", pictures(2))
    assert said.code == 12 and "the calibration images" in said.out


@pytest.mark.parametrize("name", [FP32, PLAIN, FEATURES, INT8])
def test_a_file_is_made_again(cli: Cli, artifacts: Callable[..., list[Path]], name: str) -> None:
    artifacts(*{FP32, name})
    calib = ("--calib", "digits") if name == INT8 else ()
    done = cli.ok("verify", name, "--rebuild", *calib)
    assert "the same bytes" in done.out


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("fp32", {"batch": None, "uint8_input": True, "opset": 17}),
        ("fp16", {"target": "jetson"}),
        ("w8a8-dynamic", {"batch": 2}),
        ("w8-weight-only", {}),
        ("w8a8-static", {"format": "tensorrt", "format_options": {"jetpack": "5"}}),
        ("fp32", {"format": "openvino"}),
        pytest.param(
            "w8a8-static",
            {"format": "openvino", "uint8_input": True},
            marks=pytest.mark.campaign,
        ),
    ],
)
def test_formats_and_schemes_are_made_again(
    tmp_path: Path, scheme: str, options: dict[str, Any]
) -> None:
    """Others, in tests/formats and tests/cli/test_cli_formats.py: their converters take long."""
    if options.get("format") == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed")
    calib = "digits" if scheme == "w8a8-static" else None
    model, export_options = api.ModelOptions(**RANDOM), api.ExportOptions(**options)
    if scheme == "fp32":
        artifact = api.export("edgenext_xx_small", model, export_options, out=tmp_path)
    else:
        target = export_options.target or FORMATS[export_options.format].target
        how = api.QuantizeOptions(scheme, target, calib=calib or "", n=12, seed=3)
        artifact = api.quantize("edgenext_xx_small", how, model, export_options, out=tmp_path)
    report = api.verify(artifact.path, calib=calib, rebuild=True)
    assert report.sound and report.rebuild is not None and report.rebuild.tools == {}
    require_named(artifact.path, artifact.path, 2)
    for file in artifact.manifest.files:
        require_named(artifact.path, artifact.path.with_name(file), 2)


def test_calibration_images_that_were_drawn_beside_others(
    cli: Cli, weights: Path, pictures: Callable[..., Path]
) -> None:
    """As in a run, where those that are scored are excluded."""
    folder = pictures(3)
    images = api.Context().content_hashes(folder, "train")
    options = api.QuantizeOptions(calib=folder, n=10, exclude=sorted(images)[:15])
    model = api.ModelOptions(weights, size=32)
    artifact = api.quantize("edgenext_xx_small", options, model)
    report = api.verify(artifact.path, model, calib=folder, rebuild=True)
    assert report.rebuild is not None and report.rebuild.same
    used = artifact.manifest.calibration
    assert used is not None and not set(used.images) & set(options.exclude)
    for path in folder.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b" ")
    said = cli.run("verify", artifact.path, "--calib", folder)
    assert said.code == 12 and "0 of the 10 calibration images" in said.out


def test_a_manifest_that_lies_is_found_out(
    cli: Cli, artifacts: Callable[..., list[Path]], weights: Path
) -> None:
    """Its hashes fit together; what it says of its origin does not."""
    (path,) = artifacts(FP32)
    manifest = open_artifact(path).manifest
    write_manifest(path, manifest.model_copy(update={"sites": {}}))
    assert api.verify(path).sound
    said = cli.run("verify", path, "--rebuild")
    assert said.code == 12 and "manifest: sites" in said.err
    tools = manifest.tools | {"onnx": "1.0"}
    write_manifest(path, manifest.model_copy(update={"tools": tools, "form": "convC"}))
    said = cli.run("verify", path, "--rebuild")
    assert said.code == 12 and "made with onnx 1.0; here it is" in said.out
    assert "Install the versions" in said.err
    source = {"weights": "ten.safetensors", "sha256": "0" * 64}
    write_manifest(path, manifest.model_copy(update={"source": source}))
    assert "Give it with --weights" in cli.fails(2, "verify", path, "--rebuild")
    write_manifest(path, manifest.model_copy(update={"options": None}))
    assert "does not say with which options" in cli.fails(3, "verify", path, "--rebuild")


TWICE = """
import sys
from pathlib import Path
from edgenext import api
out, threads = Path(sys.argv[1]), int(sys.argv[2])
import torch
assert torch.get_num_threads() == threads
model = api.ModelOptions(random_weights=True, num_classes=10, size=32)
api.export("edgenext_xx_small", model, out=out)
api.quantize("edgenext_xx_small", api.QuantizeOptions(calib="digits", n=16), model, out=out)
"""


def test_files_and_manifests_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    for threads in ("1", "2"):
        variables = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        subprocess.run(
            [sys.executable, "-c", TWICE, str(tmp_path / threads), threads],
            env=os.environ | variables,
            check=True,
        )
    assert tree(tmp_path / "1") == tree(tmp_path / "2")
    assert len(tree(tmp_path / "1")) == 4


def test_no_file_says_where_it_was_made(
    cli: Cli, weights: Path, pictures: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = cli.folder / "home-of-somebody"
    for name in ("weights", "tmp", "out", "sets"):
        (home / name).mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(home / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    shutil.copy(weights, home / "weights" / "ten.safetensors")
    pictures(2).rename(home / "sets" / "images")
    model = ("--weights", home / "weights" / "ten.safetensors", *WEIGHTS, "-o", home / "out")
    images = home / "sets" / "images"
    cli.ok("export", *model, "--data", images, "--format", "onnx", "--format", "openvino")
    cli.ok("quantize", "edgenext_xx_small", *model, "--calib", images, "-n", "12")
    files = sorted((home / "out").glob("*.onnx"))
    shutil.copytree(home / "out", home / "out" / "copy")
    copies = [home / "out" / "copy" / path.name for path in files]
    bench = ("bench", *files, *copies, "--rounds", "1", "-o", home / "out" / "bench.json")
    shown = cli.ok(*bench, "--json").out
    require_no_path(home / "out", home)
    assert home.name not in shown
    for command in (("eval", files[0], copies[0]), ("compare", *files), ("diff", *files)):
        assert home.name not in cli.ok(*command, "--data", "digits", "--limit", "10", "--json").out


@pytest.mark.usefixtures("cli")
def test_training_is_verified(weights: Path) -> None:
    from edgenext.train import TrainRecipe

    recipe = TrainRecipe(epochs=1, batch_size=256)
    model = api.ModelOptions(size=32)
    training = api.prepare_training("edgenext_xx_small", "digits", recipe, model)
    result = api.train(training, out=Path("trained"))
    assert set(read_sums(Path("trained"))) == {
        result.weights.name, result.sidecar.name, result.checkpoint.name, "network.json",
        "best.safetensors", "best-ema.safetensors", "curves.png", "log.jsonl",
    }  # fmt: skip
    for path in Path("trained").iterdir():
        require_named(Path("trained"), path, 2)
    assert api.verify(result.weights).sound
