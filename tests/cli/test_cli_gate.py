"""`--fail-if`, `--junit` and `--csv`: exit codes and files of every command that has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ci_files import csv_rows, junit_suites
from cli_calls import FP32, INT8, MODEL, Cli, config

from edgenext.data import ImageSet
from edgenext.formats.session import Logits, Session

Artifacts = Callable[..., list[Path]]
WRITES = ("--junit", "junit.xml", "--csv", "results.csv")


def test_a_comparison_in_ci(
    cli: Cli, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(cli.folder / "summary.md"))
    compare = ("compare", *artifacts(FP32, INT8), "--data", "digits", "--limit", "60")
    done = cli.ok(*compare, "--fail-if", "drop>90 or size_ratio>.9 or undecided", *WRITES, "--json")
    assert done.json["others"][0]["artifact"] == Path(INT8).stem, "stdout is JSON alone"
    assert f"passed: {Path(INT8).stem}: not drop > 90: drop is " in done.err
    suite = junit_suites("junit.xml")[1]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "0")
    rows = csv_rows("results.csv")
    assert [row["artifact"] for row in rows] == [Path(FP32).stem, Path(INT8).stem]
    assert 0.1 < float(rows[1]["size_ratio"]) < 0.9
    assert "### edgenext compare: ✓ passed" in Path("summary.md").read_text()

    done = cli.run(*compare, "--fail-if", "size_ratio > 0.01", *WRITES)
    assert done.code == 13 and f"{Path(INT8).stem}: size_ratio > 0.01: " in done.err
    assert "60 images, drops in points" in done.out, "the results are shown first"
    assert junit_suites("junit.xml")[1].get("failures") == "1"
    low, high = (float(value) for value in (rows[1]["top1_low"], rows[1]["top1_high"]))
    inside = f"top1 < {(low + high) / 2:.3f}"
    done = cli.run(*compare, "--fail-if", f"{inside} or undecided")
    assert done.code == 14 and done.err.splitlines()[-1].startswith("edgenext: undecided: ")
    assert f"undecided: {Path(INT8).stem}: top1" in cli.ok(*compare, "--fail-if", inside).err
    assert Path("summary.md").read_text().count("### edgenext compare") == 4


def test_a_benchmark_in_ci(cli: Cli, artifacts: Artifacts) -> None:
    bench = ("bench", *artifacts(FP32, INT8), "--rounds", "2")
    done = cli.run(*bench, "--fail-if", "speedup<0.001 or undecided", *WRITES)
    assert done.code == 14, "two rounds are not valid"
    assert "not valid: too few rounds to trust" in done.err.splitlines()[-1]
    assert junit_suites("junit.xml")[1].get("errors") == "1"
    assert cli.run(*bench, "--fail-if", "size_mib > 0.1").code == 13


def test_a_run_in_ci(cli: Cli, ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(cli.folder / "summary.md"))
    done = cli.run("run", config(), "--fail-if", "do_not_ship or undecided", *WRITES)
    assert done.code in (13, 14), "one round decides nothing, or the drop is over the budget"
    assert "the report says " in done.err.splitlines()[-1]
    assert len(csv_rows("results.csv")) == 4
    summary = Path("summary.md").read_text()
    assert summary.startswith("### edgenext run: ") and "\n- ? speed: " in summary
    assert cli.run("run", config(), "--fail-if", "size_ratio > 0.9").code == 0


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["compare", FP32, INT8, "--data", "digits", "--fail-if", "dorp>1"], "Did you mean drop"),
        (["compare", FP32, INT8, "--data", "digits", "--fail-if", "drop>x"], "cannot be read"),
        (["compare", FP32, INT8, "--data", "digits", "--fail-if", "speedup<1"], "not measure"),
        (["compare", FP32, INT8, "--data", "digits", "--junit", "x.xml"], "Give --fail-if"),
        (["bench", FP32, "--fail-if", "speedup < 1"], "one file alone"),
        (["bench", FP32, INT8, "--fail-if", "drop > 1"], "Give --data"),
        (["run", "demo.toml", "--fail-if", "undecided"], "compares nothing"),
        (["quantize", *MODEL, "--calib", "digits", "--fail-if", "drop>1"], "an option of search"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_decided_is_refused_before_anything_is_done(
    cli: Cli, args: list[str], says: str
) -> None:
    assert says in cli.fails(2, *args)


def test_a_bundle_has_no_results_yet(cli: Cli, artifacts: Artifacts) -> None:
    files = artifacts(FP32)
    cli.ok("devices", "add", "mac", "--bundle", "bundles")
    error = cli.fails(2, "bench", *files, "--device", "mac", "--fail-if", "p50_ms > 1")
    assert "a bundle has no results yet" in error


def test_what_changed_since_another_run(cli: Cli, ran: Path) -> None:
    done = cli.ok("report", ran, "-o", "new", "--against", ran)
    assert "Of " in done.out and "no change" in done.out
    assert done.out.splitlines()[-3:] == [f"new/report.{e}" for e in ("html", "md", "json")]
    assert "What changed since demo" in Path("new/report.md").read_text()
    assert "not the folder of a run" in cli.fails(3, "report", ran, "--against", "nowhere")


def test_a_comparison_that_stops_when_its_budget_is_decided(cli: Cli, artifacts: Artifacts) -> None:
    compare = ("compare", *artifacts(FP32, INT8), "--data", "digits", "--limit", "300")
    done = cli.ok(*compare, "--max-drop", "8", "--json", "--csv", "results.csv")
    (other,) = done.json["others"]
    decision, drop = other["decision"], other["drop"]
    assert decision["outcome"] == "under" and drop["interval"] == "sequence"
    assert done.json["n"] == decision["n"] == done.json["data"]["n"] < decision["available"] == 300
    assert drop["ci95"][1] < 8 and drop["points"] * done.json["n"] == pytest.approx(
        100 * (drop["lost"] - drop["gained"])
    )
    assert csv_rows("results.csv")[1]["interval"] == "sequence"
    shown = cli.run(*compare, "--max-drop", "0.5")
    assert shown.code == 14 and "95 % confidence sequence" in shown.out
    assert "undecided, not decided by all 300 images in the order of seed 0" in shown.out
    assert "300 images, which is too few for a budget of 0.5 points" in " ".join(shown.err.split())
    for budget in ("-1", "nan", "inf", "101"):
        error = cli.fails(2, *compare, "--max-drop", budget)
        assert f"--max-drop {budget} is not a number of points. Use 0 to 100" in error


def test_a_run_that_stops_when_its_budget_is_decided(
    cli: Cli, ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgenext.commands import evaluate, sequence

    computed: list[int] = []
    whole, narrowed = evaluate.logits_of, sequence.narrowed

    def counted(session: Session, images: ImageSet, *told: Any) -> Logits:
        computed.append(len(images))
        return whole(session, images, *told)

    def interrupted(*_: object) -> tuple[float, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "logits_of", counted)
    monkeypatch.setattr(sequence, "narrowed", interrupted)
    assert cli.run("run", config(), "--max-drop", "7").code == 130
    assert computed == [64, 64], "the base and the first of the others"
    assert (ran / "shards").is_dir()
    monkeypatch.setattr(sequence, "narrowed", narrowed)
    done = cli.ok("run", config(), "--max-drop", "7")
    assert computed[2:4] == [64, 64], "it goes on with those that are missing"
    assert sum(computed) == 4 * 120 and not (ran / "shards").exists()
    assert "evaluate\n" in done.err and "benchmark: unchanged" in done.err
    document = json.loads((ran / "report.json").read_text())
    assert document["verdict"]["budget"] == 7
    markdown = (ran / "report.md").read_text()
    assert "120 of 120 images in a random order (seed 0)" in markdown
    assert (
        "95 % confidence sequence" in markdown and "120 images" in document["verdict"]["lines"][2]
    )
    cli.ok("verify", ran)
    assert "evaluate: unchanged" in cli.ok("run", config(), "--max-drop", "7").err
    assert "evaluate\n" in cli.ok("run", config(), "--max-drop", "7", "--all-images").err
    assert "95 % confidence sequence" not in (ran / "report.md").read_text()
