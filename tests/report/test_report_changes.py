"""`report --against`: what changed since another run, beyond noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from report_runs import (
    BUSY,
    ENVIRONMENT,
    FOLDED,
    INT8,
    PLAIN,
    benchmark,
    measured,
    save,
    summary,
    timed,
)

from edgenext import api
from edgenext.errors import InputError
from edgenext.report.changes import Side, changes_table
from edgenext.report.changes import changes as changes_since
from edgenext.schema import Change, ChangeReport, RunSummary


def change_report(new: Path, old: Path) -> ChangeReport:
    return changes_since(Side.of(new, 1.0), Side.of(old, 1.0))


def changes(new: Path, old: Path) -> dict[tuple[str, str], Change]:
    return {(row.artifact, row.metric): row for row in change_report(new, old).rows}


def test_the_same_run_has_not_changed(tmp_path: Path) -> None:
    run, arrays = measured()
    old, new = (save(tmp_path / name, run, arrays) for name in ("old", "new"))
    api.report(new, out=tmp_path / "out", against=old)
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert ChangeReport.model_validate(document["changes"]) == change_report(new, old)
    rows = changes(new, old)
    assert len(rows) == 3 * 3 + 2
    for (_, metric), row in rows.items():
        exact = metric in ("top1", "size_mib")
        assert row.outcome == ("no change" if exact else "within noise")
    for name in ("report.html", "report.md"):
        text = (tmp_path / "out" / name).read_text()
        assert "What changed since old" in text and "Still SHIP." in text


def test_answers_are_compared_image_by_image(tmp_path: Path) -> None:
    run, arrays = measured()
    worse = {name: values.copy() for name, values in arrays.items()}
    n = len(worse["labels"])
    spoilt = np.flatnonzero(worse[INT8].argmax(1) == worse["labels"])[:60]
    worse[INT8][spoilt] = -worse[INT8][spoilt]
    old, new = save(tmp_path / "old", run, arrays), save(tmp_path / "new", run, worse)
    row = changes(new, old)[INT8, "top1"]
    assert row.outcome == "worse" and row.change == pytest.approx(-100 * 60 / n)
    assert row.ci95 and row.ci95[0] < row.change < row.ci95[1] < 0
    row = changes(old, new)[INT8, "top1"]
    assert row.outcome == "better" and row.change == pytest.approx(100 * 60 / n)
    table = changes_table(change_report(old, new))
    assert table is not None
    assert table.rows[0][:3] == (INT8, "cpu", "Top-1, %") and table.rows[0][6].startswith("+2.00 (")
    assert table.about.startswith("Of 11 figures: 1 better, ")
    few = {name: values.copy() for name, values in arrays.items()}
    few[INT8][spoilt[:2]] = -few[INT8][spoilt[:2]]
    row = changes(save(tmp_path / "few", run, few), old)[INT8, "top1"]
    assert row.outcome == "within noise" and row.change and row.change < 0


def test_a_latency_counts_where_the_intervals_do_not_meet(tmp_path: Path) -> None:
    old = save(tmp_path / "old", summary(ms=(12.8, 10.85, 8.26)))
    rows = changes(save(tmp_path / "new", summary(ms=(12.8, 10.85, 9.4))), old)
    assert rows[INT8, "p50_ms"].outcome == rows[INT8, "speedup"].outcome == "worse"
    assert rows[INT8, "p50_ms"].change == pytest.approx(8.26 / 9.4, rel=0.02)
    assert rows[FOLDED, "p50_ms"].outcome == "within noise"
    rows = changes(save(tmp_path / "near", summary(ms=(12.8, 10.85, 8.4))), old)
    assert rows[INT8, "p50_ms"].outcome == "within noise"
    # a machine that is slower as a whole changes no speed relative to the base
    rows = changes(save(tmp_path / "slow", summary(ms=(16.0, 13.56, 10.32))), old)
    assert rows[INT8, "p50_ms"].outcome == "worse"
    assert rows[INT8, "speedup"].outcome == "within noise"


def test_what_cannot_be_compared_says_why(tmp_path: Path) -> None:
    old = save(tmp_path / "old", summary())
    other = ENVIRONMENT.model_copy(update={"cpu": "another"})
    rows = changes(save(tmp_path / "a", summary(environment=other)), old)
    assert rows[INT8, "p50_ms"].reason == "they were timed on other machines"
    assert rows[INT8, "top1"].reason == "a run has no predictions.npz of it"
    rows = changes(save(tmp_path / "b", summary(reasons={INT8: (BUSY,)})), old)
    assert rows[INT8, "p50_ms"].reason.startswith("not valid: other programs used")
    assert rows[PLAIN, "p50_ms"].outcome == "within noise"
    run = summary()
    data = run.compare.data
    assert data is not None
    compare = run.compare.model_copy(update={"data": data.model_copy(update={"sha256": "f" * 64})})
    rows = changes(save(tmp_path / "c", run.model_copy(update={"compare": compare})), old)
    assert rows[INT8, "top1"].reason == "they were scored on other images"
    threads = [r.model_copy(update={"threads": 2}) for r in run.bench.results]
    run = run.model_copy(update={"bench": benchmark(threads)})
    rows = changes(save(tmp_path / "d", run), old)
    assert rows[INT8, "p50_ms"].reason == "they were timed with other threads"
    assert {row.outcome for row in rows.values()} == {"not comparable", "no change"}


def on_orin(run: RunSummary, ms: float) -> RunSummary:
    rows = [
        timed(name, t).model_copy(update={"device": "orin", "evidence": "device"})
        for name, t in ((PLAIN, 3.0), (INT8, ms))
    ]
    return run.model_copy(update={"devices": (benchmark(rows, environment=None),)})


def test_every_device_is_compared_with_itself(tmp_path: Path) -> None:
    folders = []
    for name, ms in (("old", 1.4), ("new", 1.1)):
        folder = save(tmp_path / name, summary())
        (folder / "devices").mkdir()
        report = on_orin(summary(), ms).devices[0]
        (folder / "devices" / "orin.json").write_text(report.model_dump_json())
        folders.append(folder)
    rows = change_report(folders[1], folders[0]).rows
    outcomes = {(r.device, r.metric): r.outcome for r in rows if r.artifact == INT8}
    assert outcomes["orin", "p50_ms"] == outcomes["orin", "speedup"] == "better"
    assert outcomes["cpu", "p50_ms"] == "within noise"


def test_files_of_one_run_alone_are_named(tmp_path: Path) -> None:
    run = summary()
    without = run.model_copy(
        update={
            "artifacts": run.artifacts[::2],
            "eval": run.eval.model_copy(update={"results": run.eval.results[::2]}),
            "compare": run.compare.model_copy(update={"others": run.compare.others[1:]}),
            "bench": benchmark(run.bench.results[::2]),
        }
    )
    old, new = save(tmp_path / "old", run), save(tmp_path / "new", without)
    assert changes(new, old)[FOLDED, "top1"].outcome == "removed"
    assert changes(old, new)[FOLDED, "top1"].outcome == "added"


def test_a_changed_decision_is_said(tmp_path: Path) -> None:
    old = save(tmp_path / "old", summary())
    new = save(tmp_path / "new", summary(lost=300, gained=90))
    step = tmp_path / "step.md"
    api.report(new, against=old, step_summary=step)
    assert "DO NOT SHIP, where old says SHIP." in (new / "report.md").read_text()
    assert step.read_text().startswith("\n## What changed since old\n")


def test_runs_of_other_networks_are_refused(tmp_path: Path) -> None:
    old = save(tmp_path / "old", summary())
    run = summary()
    renamed = json.loads(run.model_dump_json().replace("net-", "other-"))
    new = save(tmp_path / "new", RunSummary.model_validate(renamed))
    with pytest.raises(InputError, match="new and old have no file in common"):
        api.report(new, against=old)
    assert not list(new.glob("report.*")), "nothing is half written"
    with pytest.raises(InputError, match=r"contains no run\.json"):
        api.report(new, against=tmp_path)
