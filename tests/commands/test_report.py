"""Reports of one run folder, and of several."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenext import api
from edgenext.cli import main
from edgenext.errors import InputError, UsageError
from edgenext.schema import (
    Accuracy,
    BenchReport,
    CompareReport,
    EvalReport,
    RunSummary,
)

FILES = ("report.html", "report.md", "report.json")


def run_folder(folder: Path) -> Path:
    """A run that measured a single network, named after its folder."""
    run = RunSummary(
        model=folder.name,
        arch="edgenext_xx_small",
        params=1,
        weights="",
        weights_sha256="",
        artifacts=(),
        eval=EvalReport(results=()),
        compare=CompareReport(n=1, base=Accuracy(top1=50.0, top5=90.0), others=()),
        bench=BenchReport(results=(), ratios=()),
    )
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(run.model_dump_json(), encoding="utf-8")
    return folder


def test_one_run_has_its_report_in_its_folder_or_the_folder_given(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    assert api.report(run) == [run / name for name in FILES]
    out = tmp_path / "out"
    for run_dirs in (run, [run]):
        assert api.report(run_dirs, out) == [out / name for name in FILES]
    assert sorted(p.name for p in out.iterdir()) == sorted((*FILES, "SHA256SUMS"))


def test_several_runs_have_their_reports_in_their_own_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [run_folder(tmp_path / "a" / "run"), run_folder(tmp_path / "b" / "run")]
    *reports, comparison = api.report(runs)
    assert reports == [run / name for run in runs for name in FILES]
    assert comparison == Path("comparison.html")
    page = comparison.read_text("utf-8")
    for name in ("a/run", "b/run"):
        assert f'<a href="{name}/report.html">{name}</a>' in page


def test_several_runs_have_a_folder_each_in_the_folder_given(tmp_path: Path) -> None:
    runs, out = [run_folder(tmp_path / name) for name in ("first", "second")], tmp_path / "out"
    paths = api.report(runs, out, max_drop=0.5)
    reports = [out / run.name / name for run in runs for name in FILES]
    assert paths == [*reports, out / "comparison.html"]
    for run in runs:
        assert f"# {run.name}\n" in (out / run.name / "report.md").read_text()
        assert '"budget": 0.5' in (out / run.name / "report.json").read_text()
        assert [p.name for p in run.iterdir()] == ["run.json"]


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, other = run_folder(tmp_path / "here"), run_folder(tmp_path / "other")
    monkeypatch.chdir(here)
    paths = api.report([Path(), other], tmp_path / "out")
    *reports, comparison = paths
    assert {p.parent for p in reports} == {tmp_path / "out" / "here", tmp_path / "out" / "other"}
    text = comparison.read_text("utf-8")
    assert 'href="here/report.html"' in text and 'href="other/report.html"' in text


def test_run_folders_of_one_name_are_refused_where_they_would_overwrite_each_other(
    tmp_path: Path,
) -> None:
    runs = [run_folder(tmp_path / "a" / "run"), run_folder(tmp_path / "b" / "run")]
    with pytest.raises(
        UsageError, match=r"2 run folders are called run: .* same folder, .*out.run"
    ):
        api.report(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_folder_and_a_folder_without_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run folder was given"):
        api.report([])
    with pytest.raises(InputError, match=r"contains no run\.json"):
        api.report([run_folder(tmp_path / "run"), tmp_path])


@pytest.mark.parametrize("max_drop", [-1.0, float("nan"), float("inf")])
def test_a_budget_is_a_number_of_points(tmp_path: Path, max_drop: float) -> None:
    with pytest.raises(UsageError, match="is not a number of points"):
        api.report(run_folder(tmp_path / "run"), max_drop=max_drop)


def test_the_command_takes_several_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        run_folder(tmp_path / name)
    monkeypatch.setattr("sys.argv", ["edgenext", "report", "a", "b", "-o", "out"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.split() == [
        *(f"out/{run}/{name}" for run in "ab" for name in FILES),
        "out/comparison.html",
    ]
