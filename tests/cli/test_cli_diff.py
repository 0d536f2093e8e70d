"""`edgenext diff`: what it says, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_calls import FEATURES, FP32, INT8, MODEL, NAME, PLAIN, Cli
from private import private_python

from edgenext.formats.artifact import Artifact
from edgenext.formats.onnx.session import OnnxSession
from edgenext.formats.session import ArtifactSession

Artifacts = Callable[..., list[Path]]
DIGITS = ("--data", "digits")


def test_a_table_for_people(cli: Cli, artifacts: Artifacts) -> None:
    files = artifacts(FP32, INT8)
    done = cli.ok("diff", *files, *DIGITS, "--threshold", "60")
    head, scores, title, *rest = done.out.splitlines()
    said = f"{files[1].stem} parts from {files[0].stem} at stages.0.0.dwconv, the first of "
    assert head.startswith(said)
    assert "Most noise comes in at " in head
    assert scores.startswith("logits: ")
    assert title.split() == ["site", "kind", "dB", "loss", "dB"]
    assert rest[0].split()[0] == "downsample_layers.0.0"
    assert [line.split()[1] for line in rest if line.startswith("> ")] == ["stages.0.0.dwconv"]
    assert "fitted: each channel's scale, in which the files differ by design" in rest
    assert rest[-1] == "a stratified subset of 16 of 602 images, seed 0"


def test_nothing_parts(cli: Cli, artifacts: Artifacts) -> None:
    files = artifacts(PLAIN, FP32)
    out = cli.ok("diff", *files, *DIGITS).out
    assert f"{files[1].stem} stays with {files[0].stem}: none of " in out
    assert "sites not compared: only " in out


def test_json(cli: Cli, artifacts: Artifacts) -> None:
    files = artifacts(PLAIN, INT8)
    report = cli.ok("diff", *files, *DIGITS, "--limit", "20", "--seed", "1", "--json").json
    assert (report["a"], report["b"]) == tuple(f.stem for f in files)
    assert (report["n"], report["images"]["seed"], report["threshold_db"]) == (20, 1, 30.0)
    assert report["sites"][0]["loss_db"] is None
    assert set(report["sites"][1]) == {"site", "kind", "sqnr_db", "loss_db"}
    assert "stages.0.0.pwconv1" in report["only_b"]
    assert report["max_abs"] > 0
    assert report["sentence"]


def test_a_file_and_itself_are_equal(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(INT8)
    how = (*DIGITS, "--limit", "4")
    lines = cli.ok("diff", path, path, *how).out.splitlines()
    assert " are equal at all " in lines[0]
    assert len(lines) == 3
    report = cli.ok("diff", path, path, *how, "--json").json
    assert report["equal"]
    assert {row["sqnr_db"] for row in report["sites"]} == {200.0}


def test_a_network_and_its_file(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    report = cli.ok("diff", MODEL[0], path, *MODEL[1:], *DIGITS, "--json").json
    assert report["runtimes"] == ["torch", "onnxruntime"]
    assert report["first"] == ""


def test_a_runtime_that_shows_no_tensors(
    cli: Cli, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(ArtifactSession):
        """A session that gives logits and nothing else."""

        def __init__(self, artifact: Artifact, threads: int) -> None:
            super().__init__(artifact.manifest)
            inside = OnnxSession(str(artifact.path), artifact.manifest, threads)
            self.runtime, self.evidence, self.run = inside.runtime, inside.evidence, inside.run

    monkeypatch.setattr("edgenext.formats.onnx.session.open_session", Closed)
    files = artifacts(FP32, INT8)
    lines = cli.ok("diff", *files, *DIGITS).out.splitlines()
    assert lines[0].endswith("can be compared by their logits alone.")
    assert f"{files[0].stem}: its runtime shows no tensors" in lines
    report = cli.ok("diff", *files, *DIGITS, "--json").json
    assert (report["sites"], report["untraced"]) == ([], [f.stem for f in files])


def test_a_manifest_without_sites(cli: Cli, artifacts: Artifacts) -> None:
    files = artifacts(FP32, PLAIN)
    where = Path(f"{files[1]}.json")
    manifest = json.loads(where.read_text())
    del manifest["sites"]
    where.write_text(json.dumps(manifest))
    said = cli.fails(3, "diff", *files, *DIGITS)
    assert files[1].stem in said
    assert said.endswith("Export it again")


def test_what_cannot_be_compared(cli: Cli, artifacts: Artifacts) -> None:
    (path, features) = artifacts(FP32, FEATURES)
    other = (MODEL[0], "--random-weights", "--num-classes")
    refusals = {
        ("diff", path, *other, "10", "--size", "64", *DIGITS): (2, "32 px and 64 px"),
        ("diff", path, *other, "7", "--size", "32", *DIGITS): (2, "10 classes and 7 classes"),
        ("diff", path, "edgenext_x_small", *MODEL[1:], *DIGITS): (2, "edgenext_xx_small and"),
        ("diff", path, features, *DIGITS): (2, "10 classes and feature maps"),
        ("diff", path, "nowhere.onnx", *DIGITS): (3, "no artifact at nowhere.onnx"),
        ("diff", path, f"{path}.json", *DIGITS): (3, "is not an artifact"),
        ("diff", path, path, "--data", "nowhere"): (3, "nowhere"),
        ("diff", path, path, *DIGITS, "--threshold", "nan"): (2, "is not a number of dB"),
        ("diff", path, path, *DIGITS, "--limit", "0"): (2, "0"),
        ("diff", path, *DIGITS): (2, "diff needs B"),
        ("diff", path, path): (2, "--data"),
    }
    for command, (code, said) in refusals.items():
        assert said in cli.fails(code, *command)


def test_too_few_images_to_fit_channels(cli: Cli, artifacts: Artifacts) -> None:
    files = artifacts(FP32, INT8)
    assert "--limit 8" in cli.fails(3, "diff", *files, *DIGITS, "--limit", "4")
    (same,) = artifacts(FP32)
    assert cli.ok("diff", same, same, *DIGITS, "--limit", "2").out


def check_converted(cli: Cli, file_format: str, ending: str) -> None:
    cli.ok("export", *MODEL, "--format", file_format)
    path = f"{NAME}-fp32{ending}"
    report = cli.ok("diff", MODEL[0], path, *MODEL[1:], *DIGITS, "--json").json
    assert report["first"] == ""
    assert len(report["sites"]) > 90
    assert min(row["sqnr_db"] for row in report["sites"]) > 90


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.campaign
def test_core_ml(cli: Cli) -> None:
    pytest.importorskip("coremltools", reason="coremltools is not installed")
    check_converted(cli, "coreml", ".mlpackage")


@pytest.mark.campaign
def test_tflite(cli: Cli) -> None:
    private_python("tflite")
    check_converted(cli, "tflite", ".tflite")
