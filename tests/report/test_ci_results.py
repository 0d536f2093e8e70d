"""Conditions on results, as exit codes, JUnit XML, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import os
import sys
from pathlib import Path

import pytest
from ci_files import csv_rows, junit_suites
from report_runs import (
    BUSY,
    FOLDED,
    INT8,
    PLAIN,
    SIZES,
    benchmark,
    compared,
    save,
    sha,
    summary,
    timed,
)

from edgenext import api
from edgenext.errors import (
    GateFailedError,
    MissingDependencyError,
    OutputError,
    UndecidedError,
    UsageError,
)
from edgenext.metrics.statistics import wilson_interval
from edgenext.report.ci.results import bench_rows, compare_rows, run_rows
from edgenext.report.ci.step_summary import add_summary, step_summary
from edgenext.report.ci.table import columns, csv_table, parquet_table
from edgenext.report.study import study_of
from edgenext.report.verdict import judge
from edgenext.schema import (
    Candidate,
    CompareReport,
    GateCase,
    GateReport,
    RunSummary,
    SearchReport,
)

HASHES = {sha(name): size for name, size in SIZES.items()}


def judged(run: RunSummary, folder: Path, text: str, **options: Path) -> GateReport:
    save(folder, run)
    return api.judge_run(api.read_gate("run", api.CiOptions(text, **options)), folder)


def compare_report(lost: int = 41, gained: int = 38, name: str = INT8) -> CompareReport:
    run = summary()
    return run.compare.model_copy(update={"others": (compared(name, lost, gained, 5000),)})


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("drop > 1", "passed"),
        ("drop > -1", "failed"),
        ("drop > 0", "passed"),  # undecided, and nobody asked for a decision
        ("drop > 0 or undecided", "undecided"),
        ("drop > 1 or undecided", "passed"),
        ("drop > 0 or sqnr < 40 or undecided", "failed"),
        ("agreement < 90", "passed"),
        ("agreement < 93.4", "passed"),
        ("agreement < 93.4 or undecided", "undecided"),
        ("top1 < 29", "passed"),
        ("top1 < 40", "failed"),
    ],
)
def test_outcomes_of_a_comparison(text: str, outcome: str) -> None:
    gate = api.read_gate("compare", api.CiOptions(text))
    report = api.judge_results(gate, compare_report())
    assert report.outcome == outcome
    expected = {"failed": GateFailedError, "undecided": UndecidedError}.get(outcome)
    if expected is None:
        api.require_passed(report)
        return
    with pytest.raises(expected) as caught:
        api.require_passed(report)
    assert caught.value.exit_code == {"failed": 13, "undecided": 14}[outcome]
    assert INT8 in str(caught.value)


def test_the_value_and_its_interval_are_named() -> None:
    gate = api.read_gate("compare", api.CiOptions("drop > 1"))
    (case,) = api.judge_results(gate, compare_report(lost=300, gained=90)).cases
    assert case.condition == "drop > 1"
    assert case.detail.startswith("drop is 4.20 points (3.") and case.outcome == "failed"


def test_the_base_is_not_judged_and_one_file_alone_is() -> None:
    run = summary()
    rows = bench_rows(run.bench, HASHES)
    assert [(row.artifact, row.is_judged) for row in rows] == [
        (PLAIN, False), (FOLDED, True), (INT8, True),
    ]  # fmt: skip
    (alone,) = bench_rows(benchmark(run.bench.results[:1]), {})
    assert alone.is_judged and "speedup" not in alone.measures
    assert compare_rows(run.compare, {})[0].is_judged is False


def test_a_timing_that_is_not_valid_is_undecided() -> None:
    timings = [timed(PLAIN, 12.8), timed(INT8, 3.0, reasons=(BUSY,))]
    gate = api.read_gate("bench", api.CiOptions("speedup < 1.2 or p50_ms > 100 or undecided"))
    report = api.judge_results(gate, benchmark(timings))
    assert [case.outcome for case in report.cases] == ["undecided"] * 2
    assert "not valid: other programs used 1.10 of 2 cores" in report.cases[0].detail
    assert report.outcome == "undecided"
    valid = api.judge_results(gate, benchmark([timings[0], timed(INT8, 3.0)]))
    assert valid.outcome == "passed"


def test_a_speed_within_the_noise_floor_is_undecided() -> None:
    near = benchmark([timed(PLAIN, 12.8, noise=0.0), timed(INT8, 12.7, noise=0.0)])
    gate = api.read_gate("bench", api.CiOptions("speedup < 1 or undecided"))
    assert api.judge_results(gate, near).outcome == "undecided"


def test_a_run_is_judged_by_the_file_of_its_verdict(tmp_path: Path) -> None:
    report = judged(summary(), tmp_path, "do_not_ship or speedup < 1.2 or size_ratio > 0.4")
    assert {case.artifact for case in report.cases} == {INT8}
    assert [case.outcome for case in report.cases] == ["passed"] * 3
    slow = summary(ms=(12.8, 10.0, 11.4))
    report = judged(slow, tmp_path, "do_not_ship or speedup_float < 1 or speedup < 1")
    assert [case.outcome for case in report.cases] == ["failed", "failed", "passed"]
    unclear = judged(summary(n=200, lost=3, gained=2), tmp_path, "do_not_ship or undecided")
    assert unclear.cases[0].detail == "the report says NOT DECIDED"
    assert unclear.outcome == "undecided"
    assert "the report says NOT DECIDED" in unclear.cases[0].detail


def test_a_drop_on_the_calibration_images_is_undecided(tmp_path: Path) -> None:
    run = summary()
    run = run.model_copy(update={"calibration": run.compare.data})
    report = judged(run, tmp_path, "drop > 50 or undecided")
    assert report.outcome == "undecided" and "calibrated on" in report.cases[0].detail


def search_report(lost: int, gained: int) -> SearchReport:
    run = summary()
    data = run.compare.data
    assert data is not None
    pairs = {name: compared(name, 0, 0, 5000) for name in (PLAIN, INT8)}
    base, chosen = (
        Candidate(
            comparison=pair, size_bytes=SIZES[name], p50_ms=10.0, speed=speed, valid=True,
            meets=True, speed_ci95=(speed - 0.1, speed + 0.1),
        )
        for (name, pair), speed in zip(pairs.items(), (1.0, 1.5), strict=True)
    )  # fmt: skip
    return SearchReport(
        model="net", target="cpu-onnxruntime", budget=1.0, objective="latency",
        candidates=(base, chosen), chosen=INT8, path=f"{INT8}.onnx",
        final=compared(INT8, lost, gained, 5000), met=True, images_needed=None,
        choosing=data, reporting=data, sentence="",
    )  # fmt: skip


@pytest.mark.parametrize(("lost", "outcome"), [(41, "passed"), (300, "failed"), (85, "undecided")])
def test_a_search_that_found_nothing_does_not_pass(lost: int, outcome: str) -> None:
    gate = api.read_gate("search", api.CiOptions(), max_drop=1.0)
    report = api.judge_results(gate, search_report(lost, 38))
    assert report.outcome == outcome
    assert [case.condition for case in report.cases] == ["drop >= 1"]


def test_a_search_takes_conditions_too() -> None:
    gate = api.read_gate("search", api.CiOptions("speedup < 1.7 or size_mib > 1"), max_drop=1.0)
    report = api.judge_results(gate, search_report(41, 38))
    assert [case.outcome for case in report.cases] == ["passed", "failed", "failed"]


@pytest.mark.parametrize(
    ("command", "text", "about", "says"),
    [
        ("compare", "speedup < 1", {}, "compare does not measure speedup. It is a metric of run"),
        ("bench", "do_not_ship", {}, "bench does not measure do_not_ship"),
        ("bench", "drop > 1", {"has_images": False}, "drop needs labelled images. Give --data"),
        ("bench", "speedup < 1", {"artifacts": 1}, "one file alone has none"),
        ("bench", "unknown_thing < 1", {}, "unknown metric"),
    ],
)
def test_a_metric_that_is_not_measured_is_refused_first(
    command: str, text: str, about: dict[str, int], says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        api.read_gate(command, api.CiOptions(text), **about)  # type: ignore[arg-type]
    assert says in str(caught.value)


def test_a_file_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(OutputError, match="cannot write"):
            api.read_gate("compare", api.CiOptions("drop > 1", csv=path))
    with pytest.raises(UsageError, match="--junit has no conditions"):
        api.read_gate("compare", api.CiOptions(junit=tmp_path / "junit.xml"))


def test_junit_has_a_case_for_each_condition_and_artifact(tmp_path: Path) -> None:
    path = tmp_path / "new" / "junit.xml"
    text = "drop > 1 or drop > 0.3 or size_ratio > 0.3 or p50_ms < 1"
    judged(summary(reasons={INT8: (BUSY,)}), tmp_path, text, junit=path)
    root, suite = junit_suites(path)
    assert (root.tag, suite.tag, suite.get("name")) == ("testsuites", "testsuite", "edgenext run")
    for element in (root, suite):
        counts = [element.get(k) for k in ("tests", "failures", "errors", "skipped")]
        assert counts == ["4", "1", "0", "2"]
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    assert cases == {
        "fail if drop > 1": ["system-out"],
        "fail if drop > 0.3": ["skipped", "system-out"],
        "fail if size_ratio > 0.3": ["failure", "system-out"],
        "fail if p50_ms < 1": ["skipped", "system-out"],
    }
    assert {case.get("classname") for case in suite} == {f"cpu.{INT8}"}
    judged(summary(), tmp_path, "drop > 0.3 or undecided", junit=path)
    (error,) = junit_suites(path)[1].iter("error")
    assert error.get("type") == "undecided"


HOSTILE = "<x>&\"'\x00\x1b\ufffe|`=cmd()\n#"


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    gate = api.read_gate("compare", api.CiOptions("drop > -9", junit=path))
    report = api.judge_results(gate, compare_report(name=HOSTILE))
    (case,) = junit_suites(path)[1].iter("testcase")
    assert str(case.get("classname")).startswith("cpu.<x>&\"'")
    assert "\x00" not in path.read_text() and "\ufffe" not in path.read_text()
    markdown = step_summary(report, compare_rows(compare_report(name=HOSTILE), {}))
    assert "<x>" not in markdown and "\n#" not in markdown.removeprefix("### ")
    formula = "=HYPERLINK(1)"
    rows = list(csv.DictReader(io.StringIO(
        csv_table("compare", compare_rows(compare_report(name=formula), {}))
    )))  # fmt: skip
    assert rows[1]["artifact"] == f"'{formula}"


def test_the_table_holds_every_result(tmp_path: Path) -> None:
    path, run = tmp_path / "results.csv", summary()
    judged(run, tmp_path, "", csv=path)
    rows = {row["artifact"]: row for row in csv_rows(path)}
    assert list(rows) == [PLAIN, FOLDED, INT8]
    row, drop = rows[INT8], run.compare.others[1].drop
    assert float(row["drop"]) == drop.points
    assert (float(row["drop_low"]), float(row["drop_high"])) == drop.ci95
    assert (row["lost"], row["gained"], row["n"]) == ("41", "38", "5000")
    ratio = next(r for r in run.bench.ratios if (r.a, r.b) == (PLAIN, INT8))
    assert float(row["speedup"]) == ratio.median and float(row["speedup_low"]) == ratio.ci95[0]
    assert float(row["size_ratio"]) == pytest.approx(SIZES[INT8] / SIZES[PLAIN])
    assert (row["command"], row["sha256"], row["scheme"]) == ("run", sha(INT8), "w8a8-static")
    assert rows[PLAIN]["drop"] == rows[PLAIN]["speedup"] == ""
    # all commands give the same columns
    tables = (
        csv_table("bench", bench_rows(run.bench, HASHES)),
        csv_table("compare", compare_rows(run.compare, HASHES)),
    )
    for text in tables:
        assert next(csv.reader(io.StringIO(text))) == columns()
        assert len({len(line) for line in csv.reader(io.StringIO(text))}) == 1


def test_parquet_holds_the_same_with_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    files, run = {"csv": tmp_path / "r.csv", "parquet": tmp_path / "r.parquet"}, summary()
    judged(run, tmp_path, "", **files)
    table = parquet.read_table(files["parquet"])
    rows = table.to_pylist()
    assert table.column_names == columns()
    assert {str(table.schema.field(n).type) for n in ("drop", "p50_ms", "kl")} == {"double"}
    assert {str(table.schema.field(n).type) for n in ("lost", "n", "threads")} == {"int64"}
    for row, line in zip(rows, csv_rows(files["csv"]), strict=True):
        for name, text in line.items():
            assert row[name] is None if text == "" else str(row[name]) == text, name
    assert rows[0]["drop"] is None and rows[2]["lost"] == 41
    (row,) = (r for r in compare_rows(compare_report(name="=1+1"), {}) if r.is_judged)
    data = parquet_table("compare", [row])
    assert parquet.read_table(io.BytesIO(data))["artifact"].to_pylist() == ["=1+1"]
    # a package that is missing is said before anything is measured
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet")
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgenext\[parquet\]'"):
        api.read_gate("compare", api.CiOptions(parquet=tmp_path / "later.parquet"))


def test_the_step_summary_is_added_to(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    judged(summary(), tmp_path, "drop > 0.3 or sqnr < 40", step_summary=path)
    text = path.read_text()
    assert text.startswith("before\n### edgenext run: ✗ failed\n\n- SHIP net-w8a8-static.onnx\n")
    assert "| ? | drop &gt; 0.3 | net-w8a8-static | drop is 0.06 points (−0.30 to 0.42) |" in text
    assert "| ✗ | sqnr &lt; 40 | net-w8a8-static | sqnr is 25.1 dB |" in text
    table = [x for x in text.splitlines() if x.startswith(("| net-", "| Artifact"))]
    assert table[0].startswith("| Artifact | Top-1, % | Drop, points | Speed, base = 1 |")
    assert len(table) == 4


def test_a_summary_that_cannot_be_written_fails_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "nowhere" / "file", tmp_path / "pipe"):
        caplog.clear()
        add_summary(path, "text")
        assert f"no summary was written to {path}" in caplog.text


def test_errors_name_a_few_cases_only() -> None:
    cases = tuple(
        GateCase(artifact=f"file{i}", device="cpu", condition="drop > 1", outcome="failed",
                 undecided_fails=False, detail="drop is 2 points")
        for i in range(9)
    )  # fmt: skip
    with pytest.raises(GateFailedError, match=r"file2: .*; and 6 more$"):
        api.require_passed(GateReport(command="compare", outcome="failed", cases=cases))


def test_devices_have_rows_of_their_own() -> None:
    run = summary()
    results = [r.model_copy(update={"device": "orin", "evidence": "device"}) for r in
               run.bench.results]  # fmt: skip
    run = run.model_copy(update={"devices": (benchmark(results),)})
    study = study_of(run)
    rows = run_rows(study, judge(study))
    assert [row.device for row in rows] == ["cpu"] * 3 + ["orin"] * 3
    assert not any(row.is_judged for row in rows[3:])


@pytest.mark.parametrize(
    ("count", "n", "expected"),
    [(0, 10, (0.0, 27.75)), (5, 10, (23.66, 76.34)), (10, 10, (72.25, 100.0)),
     (4670, 5000, (92.68, 94.06))],
)  # fmt: skip
def test_the_interval_of_a_share(count: int, n: int, expected: tuple[float, float]) -> None:
    """As of R's prop.test without continuity correction."""
    assert wilson_interval(count, n) == pytest.approx(expected, abs=0.01)
    with pytest.raises(ValueError, match="impossible count"):
        wilson_interval(n + 1, n)
