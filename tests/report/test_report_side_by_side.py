"""Several runs and devices in one table."""

from __future__ import annotations

from pathlib import Path

from report_runs import BUSY, ENVIRONMENT, INT8, summary, without_int8
from test_report_devices import on_jetson

from edgenext.report.changes import Side
from edgenext.report.plots.runs import runs
from edgenext.report.side_by_side import APART, decisions_table, judged_runs, side_by_side
from edgenext.report.study import study_of
from edgenext.report.tables import Cell
from edgenext.report.verdict import judge
from edgenext.schema import RunSummary


def side(name: str, run: RunSummary) -> Side:
    study = study_of(run)
    return Side(name, study, judge(study), None)


OTHER = ENVIRONMENT.model_copy(update={"cpu": "Intel Xeon", "isa": ("avx2", "avx512_vnni")})


def test_each_speed_is_of_its_own_run_and_machine() -> None:
    slow = summary(model="first", ms=(128.0, 108.5, 82.6))
    fast = summary(model="second", ms=(12.8, 10.85, 8.26), environment=OTHER)
    table = side_by_side([side("a", slow), side("b", fast)])
    assert [row[1].text for row in table.rows] == ["first"] * 3 + ["second"] * 3
    assert {row[2].text for row in table.rows[:3]} == {"AMD EPYC 7B13, AVX2"}
    assert all(row[2].text.startswith("Intel Xeon, ") for row in table.rows[3:])
    speeds = [row[6].text for row in table.rows]
    assert speeds[:3] == speeds[3:], "ten times the latency on another machine is no factor"
    assert sorted(speeds[:3])[0] == "1"
    assert APART in table.notes
    assert all(row[2].note == "host" for row in table.rows)


def test_rows_have_the_intervals_of_their_run() -> None:
    run = summary()
    rows = {row[0].text: row for row in side_by_side([side("a", run)]).rows}
    assert [len(row) for row in rows.values()] == [7] * 3, "one run has no column of networks"
    target, device, top1, drop, _, speed, size = (rows["w8a8-static"][i] for i in range(7))
    assert target == Cell("w8a8-static", "cpu-onnxruntime")
    assert device.text == "AMD EPYC 7B13, AVX2"
    assert top1.note == "n = 5,000" and size.text == "1.58"
    d = run.compare.others[1].drop
    assert drop.text == f"{d.points:.2f}"
    assert drop.note == f"{d.ci95[0]:.2f} to {d.ci95[1]:.2f}".replace("-", "−")
    assert speed.text.endswith("x") and "–" in speed.note
    assert rows["FP32 plain"][3].text == "base" and rows["FP32 plain"][5].text == "1"


def test_devices_of_a_run_are_rows_of_their_own() -> None:
    run = summary()
    run = run.model_copy(update={"devices": (on_jetson(run),)})
    rows = side_by_side([side("a", run)]).rows
    assert len(rows) == 6
    board = [row for row in rows if row[1].text == "orin, Jetson Orin Nano"]
    assert [row[1].note for row in board] == ["device"] * 3
    assert all(row[5].struck for row in board if row[5].text not in ("1", "–")), "its base is hot"


def test_what_is_not_valid_is_struck_out_and_said_once() -> None:
    run = summary(reasons=dict.fromkeys(["net-fp32-plain", "net-fp32", INT8], (BUSY,)))
    table = side_by_side([side("a", run)])
    assert all(row[4].struck for row in table.rows)
    assert sum("other programs used" in note for note in table.notes) == 1


def test_runs_on_different_images_are_said_to_be() -> None:
    first, second = summary(), summary(n=100)
    data = second.compare.data
    assert data
    other = data.model_copy(update={"sha256": "0" * 64})
    second = second.model_copy(
        update={"compare": second.compare.model_copy(update={"data": other})}
    )
    text = " ".join(side_by_side([side("a", first), side("b", second)]).notes)
    assert "scored on different images" in text
    text = " ".join(side_by_side([side("a", first), side("b", first)]).notes)
    assert "scored on different images" not in text


def test_the_plot_has_a_row_for_each_run_that_has_an_interval() -> None:
    invalid = summary(reasons={INT8: (BUSY,)})
    sides = [side("a run", summary()), side("noisy", invalid), side("bare", without_int8(invalid))]
    judged = judged_runs(sides)
    assert [(run.drop.low is None, run.speed.low is None) for run in judged] == [
        (False, False), (False, True), (True, True),
    ]  # fmt: skip
    plot = runs(judged, 1.0)
    assert plot and "a run: drop 0.06 (" in plot.alt and "bare: no interval." in plot.alt
    for name in ("a run", "noisy", "bare"):
        assert f">{name}</text>" in plot.svg
    assert runs(judged[2:], 1.0) is None
    many = runs(judged * 10, 1.0)
    assert many and "The first 20 runs are drawn." in many.caption


def test_decisions_of_runs_are_those_of_their_reports(tmp_path: Path) -> None:
    runs = [side("good", summary()), side("bad", summary(lost=300, gained=90))]
    rows = decisions_table(runs).rows
    assert [(row[0].text, row[2].text) for row in rows] == [
        ("good", "SHIP"),
        ("bad", "DO NOT SHIP"),
    ]
