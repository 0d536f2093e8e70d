"""A run does everything once: what is there and unchanged is not done again."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_calls import (
    CONFIG,
    FP32,
    INT8,
    NAME,
    PLAIN,
    STAGES,
    Cli,
    config,
    done_again,
    temporaries,
    tree,
)
from PIL import Image
from private import private_python

from edgenext.commands.folder import WorkOwner, work_folder
from edgenext.commands.stages import Stages
from edgenext.schema.key import Inputs
from edgenext.system.locks import hold

RIVAL = "quantize, onnxruntime"


def test_a_run_leaves_a_report(cli: Cli, ran: Path) -> None:
    assert sorted(p.name for p in (ran / "artifacts").iterdir()) == sorted(
        name + end for name in (FP32, PLAIN, INT8) for end in ("", ".json")
    )
    for name in ("report.html", "report.md", "report.json", "run.json", "predictions.npz"):
        assert (ran / name).stat().st_size > 0, name
    assert not temporaries(cli.folder)
    assert not (ran / "logits").exists()
    page = (ran / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    for loaded in ('src="http', 'href="http', "@import"):
        assert loaded not in page
    summary = json.loads((ran / "run.json").read_text())
    verdict = json.loads((ran / "report.json").read_text())["verdict"]
    assert verdict["sentence"] and len(verdict["lines"]) == 4
    markdown = (ran / "report.md").read_text()
    assert all(line in markdown for line in verdict["lines"][:3])
    assert [r["n"] for r in summary["eval"]["results"]] == [120] * 4
    names = [Path(a["artifact"]).stem for a in summary["artifacts"]]
    assert names == [Path(n).stem for n in (PLAIN, FP32, INT8)]
    assert [r["artifact"] for r in summary["bench"]["results"]] == names
    assert [r["artifact"] for r in summary["compare"]["others"]][:2] == names[1:]
    assert summary["seconds"].keys() == set(STAGES)


def test_a_second_run_does_nothing_twice(cli: Cli, ran: Path) -> None:
    before = tree(ran)
    done = cli.ok("run", config())
    assert done_again(done.err) == []
    after = tree(ran)
    assert {k for k in before if before[k] != after.get(k)} <= {
        "report.html", "report.md", "report.json", "run.json",
    }  # fmt: skip
    assert after.keys() == before.keys()
    *lines, decided = json.loads((ran / "report.json").read_text())["verdict"]["lines"]
    assert done.out.splitlines()[:3] == lines and decided.startswith("next")
    assert done.out.splitlines()[3].startswith(("next: cd demo && edgenext ", "next: "))
    assert [line.split("/")[-1] for line in done.out.splitlines()[4:]] == [
        "report.html", "report.md", "report.json",
    ]  # fmt: skip


@pytest.mark.campaign
def test_another_n_redoes_what_depends_on_it(cli: Cli, ran: Path) -> None:
    before = tree(ran)
    done = cli.ok("run", config(n=24))
    assert done_again(done.err) == STAGES[2:]
    after = tree(ran)
    assert before[f"artifacts/{FP32}"] == after[f"artifacts/{FP32}"]
    assert before[f"artifacts/{INT8}"] != after[f"artifacts/{INT8}"]


def test_a_benchmark_is_repeated_on_request(
    cli: Cli, ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (ran / "bench.json").read_bytes()
    assert done_again(cli.ok("run", config(), "--measure-again").err) == ["benchmark"]
    assert (ran / "bench.json").read_bytes() != before
    measured = cli.ok("bench", "--rounds", "1", "--json")  # the files of the newest run
    assert "measuring the 3 files of the run demo" in measured.err
    names = [row["artifact"] for row in measured.json["results"]]
    assert names == [Path(name).stem for name in (PLAIN, FP32, INT8)]
    Path("empty").mkdir()
    monkeypatch.chdir("empty")
    assert "no finished run is here" in cli.run("bench").err


def test_a_longer_benchmark_redoes_only_itself(cli: Cli, ran: Path) -> None:
    config().write_text(CONFIG.format(n=16).replace("rounds = 1", "rounds = 2"))
    assert done_again(cli.ok("run", "demo.toml").err) == ["benchmark"]


def test_deleted_and_damaged_artifacts_are_made_again(cli: Cli, ran: Path) -> None:
    before = tree(ran / "artifacts")
    (ran / "artifacts" / FP32).unlink()
    (ran / "artifacts" / f"{INT8}.json").unlink()
    plain = ran / "artifacts" / PLAIN
    plain.write_bytes(plain.read_bytes()[:-1])
    # They come back byte for byte, so nothing that was measured on them has changed.
    assert done_again(cli.ok("run", config()).err) == STAGES[:3]
    assert tree(ran / "artifacts") == before


@pytest.mark.parametrize(
    "damage",
    [
        "",
        '{"made": {"key": "3',
        "[]",
        "null",
        '{"made": null}',
        '{"made": {"key": 1}}',
        '{"made": ["files"]}',
        "\0\xff",
    ],
)
def test_a_damaged_record_costs_time_only(tmp_path: Path, damage: str) -> None:
    made: list[str] = []

    def stage() -> None:
        def produce() -> list[Path]:
            made.append("again")
            (tmp_path / "file").write_text("content")
            return [tmp_path / "file"]

        Stages(tmp_path, lambda *_: None).stage("made", Inputs(versions={}), produce)

    stage()
    stage()
    assert made == ["again"]
    (tmp_path / "stages.json").write_text(damage)
    stage()
    stage()
    assert made == ["again", "again"]


def test_a_changed_calibration_image_is_noticed(
    cli: Cli, ran: Path, pictures: Callable[..., Path]
) -> None:
    folder = pictures(2)
    how = ("run", config(n=20), "--calib", folder)
    assert done_again(cli.ok(*how).err) == STAGES[2:]
    Image.new("RGB", (40, 40), "red").save(folder / "3" / "1.png")
    assert done_again(cli.ok(*how).err) == STAGES[2:]


@pytest.mark.campaign
def test_another_normalisation_is_evaluated_again(cli: Cli, weights: Path) -> None:
    shutil.copy(weights, "ten.safetensors")
    text = CONFIG.format(n=16).replace("random_weights = true\n", 'weights = "ten.safetensors"\n')
    text = text.replace("limit = 120", "limit = 40")
    text = text.replace("[quantize]\nn = 16", '[quantize]\nscheme = "w8-weight-only"')
    Path("demo.toml").write_text(text)
    reports = []
    for mean in (0.0, 0.9):
        sidecar = {"eval": {"mean": [mean] * 3, "std": [0.1] * 3}}
        Path("ten.json").write_text(json.dumps(sidecar))
        # the same weights rounded the same way: only the manifests differ
        lines = cli.ok("run", "demo.toml").err.splitlines()
        announced = [line for line in lines if "needs no calibration" not in line]
        assert done_again("\n".join(announced)) == STAGES
        reports.append(json.loads(Path("demo/run.json").read_text()))
    first, second = ([a["sha256"] for a in r["artifacts"]] for r in reports)
    assert first == second
    rows = [{r["artifact"]: r["loss"] for r in report["eval"]["results"]} for report in reports]
    files = [Path("demo/artifacts", Path(a["artifact"]).name) for a in reports[1]["artifacts"]]
    direct = cli.ok("eval", *files, "--data", "digits", "--limit", "40", "--json").json
    for row in direct["results"]:
        assert rows[1][row["artifact"]] == row["loss"] != rows[0][row["artifact"]]


def test_an_upgraded_runtime_is_measured_again(
    cli: Cli, ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = cli.folder / "upgrade" / "openvino-2099.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: openvino\nVersion: 2099.0\n")
    monkeypatch.syspath_prepend(installed.parent)
    assert done_again(cli.ok("run", config()).err) == STAGES[3:]


def test_the_folder_of_another_network_is_refused(cli: Cli, ran: Path) -> None:
    text = config().read_text()
    for change, says in (
        ("weight_seed = 1\n", r"weights random [0-9a-f]{12}…, not random [0-9a-f]{12}…"),
        ("size = 64\n", "size 32 px, not 64 px"),
        ("num_classes = 11\n", "classes 10, not 11, weights"),
        ('model = "edgenext_x_small"\n', "architecture edgenext_xx_small, not edgenext_x_small"),
    ):
        kept = [line for line in text.splitlines() if line.split(" =")[0] not in change]
        Path("demo.toml").write_text(change + "\n".join(kept))
        error = cli.fails(6, "run", "demo.toml")
        assert re.search(f"demo holds another network's work: .*{says}", error), error
        assert error.endswith("Choose another folder with --out, or remove this one")


def test_the_training_of_another_network_is_refused(cli: Cli) -> None:
    other = WorkOwner(arch="edgenext_xx_small", num_classes=10, size=128, weights="")
    folder, train = Path("training"), ("train", "edgenext_xx_small", "--data", "digits")
    with work_folder(folder, other):
        (folder / "checkpoint.pth").write_text("of hours")
    before = tree(folder)
    refused = cli.run(*train, "--size", "64")
    assert refused.code == 6
    error = refused.err.splitlines()[-1]
    assert "training holds another network's work: size 128 px, not 64 px" in error
    assert tree(folder) == before
    with hold(folder):
        assert "training is in use by process" in cli.run(*train, "--size", "128").err
    # a folder in which nothing was made is nobody's
    with work_folder(Path("empty"), other):
        pass
    assert not Path("empty").exists()


def test_two_runs_of_one_folder_do_not_mix(cli: Cli, ran: Path) -> None:
    (ran / "artifacts" / ".half.0123abcd.tmp").write_text("left behind by a killed run")
    with hold(ran):
        error = cli.run("run", config())
        assert (error.code, error.out) == (6, "")
        assert f"demo is in use by process {os.getpid()} (" in error.err
    assert done_again(cli.ok("run", config()).err) == []
    assert not temporaries(ran) and not (ran / ".lock").exists()


def test_the_report_alone(cli: Cli, ran: Path) -> None:
    for path in ran.glob("report.*"):
        path.unlink()
    done = cli.ok("report", ran, "-o", "elsewhere", "--max-drop", "2.5")
    assert sorted(done.out.split()) == [f"elsewhere/report.{e}" for e in ("html", "json", "md")]
    assert "2.5 points" in Path("elsewhere/report.md").read_text()
    assert not list(ran.glob("report.*"))


def test_options_stand_above_the_file(cli: Cli, ran: Path) -> None:
    done = cli.ok("run", config(), "--limit", "60")
    assert "evaluate" in done_again(done.err)
    results = json.loads((ran / "eval.json").read_text())["results"]
    assert [r["n"] for r in results] == [60] * 4


def test_training_first(cli: Cli) -> None:
    text = CONFIG.format(n=16).replace("random_weights = true\n", "").replace('"demo"', '"t"')
    Path("t.toml").write_text(text + "\n[train]\nepochs = 1\n")
    stages = ["train", *STAGES]
    assert done_again(cli.ok("run", "t.toml").err, stages) == stages
    summary = json.loads(Path("t/run.json").read_text())
    assert summary["trained"]["epochs"] == 1
    assert summary["seconds"].keys() == set(stages)
    before = tree(Path("t/artifacts"))
    assert done_again(cli.ok("run", "t.toml").err, stages) == []
    assert tree(Path("t/artifacts")) == before


@pytest.mark.campaign
def test_a_run_makes_what_its_target_runs(cli: Cli) -> None:
    private_python("tflite")
    text = CONFIG.format(n=16).replace("baselines = []", 'baselines = ["onnxruntime"]')
    Path("demo.toml").write_text(text.replace("[quantize]", '[quantize]\ntarget = "tflite"'))
    stages = [*STAGES[:3], RIVAL, *STAGES[3:]]
    assert done_again(cli.ok("run", "demo.toml").err, stages) == stages
    summary = json.loads(Path("demo/run.json").read_text())
    made = [(a["format"], a["scheme"], a["engine"], a["target"]) for a in summary["artifacts"]]
    assert made[1:] == [
        ("tflite", "fp32", "", "tflite"),
        ("tflite", "w8a8-static", "edgenext", "tflite"),
        ("onnx", "w8a8-static", "onnxruntime", "cpu-onnxruntime"),
    ]
    runtimes = [r["runtime"] for r in summary["bench"]["results"]]
    assert [name.split()[0] for name in runtimes] == [
        "onnxruntime", "litert", "litert", "onnxruntime",
    ]  # fmt: skip
    pairs = zip(summary["artifacts"], summary["bench"]["results"], strict=True)
    assert all(made["sha256"] == timed["sha256"] for made, timed in pairs)
    assert done_again(cli.ok("run", "demo.toml").err, stages) == []


@pytest.mark.slow
def test_what_only_an_interpreter_runs_is_scored_and_not_timed(cli: Cli) -> None:
    pytest.importorskip("coremltools", reason="no coremltools (pip install 'edgenext[coreml]')")
    text = CONFIG.format(n=16).replace("limit = 120", "limit = 20")
    Path("demo.toml").write_text(text.replace("[quantize]", '[quantize]\ntarget = "coreml"'))
    assert done_again(cli.ok("run", "demo.toml").err) == STAGES
    summary = json.loads(Path("demo/run.json").read_text())
    assert [a["format"] for a in summary["artifacts"]] == ["onnx", "coreml", "coreml"]
    assert [r["evidence"] for r in summary["eval"]["results"]][:3] == [
        "host", "emulated", "emulated",
    ]  # fmt: skip
    assert [r["artifact"] for r in summary["bench"]["results"]] == [Path(PLAIN).stem]
    assert "(measure it with edgenext bench --device iphone)" in Path("demo/report.md").read_text()
    package = Path("demo/artifacts", f"{NAME}-w8a8-static.mlpackage")
    (package / "Manifest.json").write_text("{}")
    assert done_again(cli.ok("run", "demo.toml").err) == ["quantize, edgenext"]


def test_a_missing_converter_is_told_before_anything_is_made(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGENEXT_ENVIRONMENTS", str(cli.folder / "none"))
    text = CONFIG.format(n=16).replace("[quantize]", '[quantize]\ntarget = "tflite"')
    Path("demo.toml").write_text(f"{text}\n[train]\nepochs = 1\n")
    assert "edgenext env tflite" in cli.fails(8, "run", "demo.toml")
    assert not Path("demo").exists()


def test_no_baseline_of_that_name(cli: Cli) -> None:
    Path("demo.toml").write_text(
        CONFIG.format(n=16).replace("baselines = []", 'baselines = ["ncf"]')
    )
    assert "unknown baseline 'ncf'. Did you mean nncf?" in cli.fails(2, "run", "demo.toml")


TWIN = ["twin", "quantize twin, edgenext", "quantize twin, onnxruntime", "evaluate twin"]


def test_a_run_stresses_the_network_with_every_engine(
    cli: Cli, pictures: Callable[..., Path]
) -> None:
    folder = pictures(2)
    text = CONFIG.format(n=16).replace("baselines = []", 'baselines = ["onnxruntime"]')
    text = text.replace('data = "digits"', f'data = "{folder}"\ncalib = "digits"')
    text = text.replace("limit = 120\n", "")
    Path("demo.toml").write_text(f"{text}\n[stress]\nseed = 1\n")
    stages = [*STAGES[:3], RIVAL, *STAGES[3:], *TWIN]
    assert done_again(cli.ok("run", "demo.toml").err, stages) == stages

    summary = json.loads(Path("demo/run.json").read_text())
    twin = summary["twin"]
    assert (twin["seed"], twin["strength"], twin["n"], twin["same_file"]) == (1, 3.0, 20, True)
    rows = {(row["engine"], row["on"]): row["comparison"] for row in twin["rows"]}
    assert list(rows) == [
        (e, on) for e in ("edgenext", "onnxruntime") for on in ("network", "twin")
    ]
    made = {a["engine"]: a["sha256"] for a in summary["artifacts"]}
    ours, rival = (
        [rows[e, on]["sha256"] for on in ("network", "twin")] for e in ("edgenext", "onnxruntime")
    )
    assert ours[0] == made["edgenext"]  # the twin's is equal but for the hash of its weights
    assert rival[0] == made["onnxruntime"] != rival[1]
    assert rows["edgenext", "twin"]["sqnr_db"] > rows["onnxruntime", "twin"]["sqnr_db"]

    # The network's own figures know nothing of the twin.
    for part in ("bench", "eval"):
        assert not any("twin" in r["artifact"] for r in summary[part]["results"])
    names = [Path(a["artifact"]).name for a in summary["artifacts"]]
    assert len(names) == 4 and not any("twin" in name for name in names)
    assert "The same network, badly scaled" in Path("demo/report.html").read_text()

    assert done_again(cli.ok("run", "demo.toml").err, stages) == []
    # Another image to judge on makes no new file; both are judged again. The float files are made
    # again because it is one of those that they are compared on; their bytes are the same.
    Image.new("RGB", (36, 40), "red").save(folder / "3" / "1.png")
    again = ["export plain", "export", "evaluate", "evaluate twin"]
    assert done_again(cli.ok("run", "demo.toml").err, stages) == again
    summary = json.loads(Path("demo/run.json").read_text())
    assert made == {a["engine"]: a["sha256"] for a in summary["artifacts"]}
