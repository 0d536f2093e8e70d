from __future__ import annotations

from report_runs import FOLDED, INT8, PLAIN, compared, summary

from edgenext.report.markdown import markdown
from edgenext.report.page import page
from edgenext.report.study import study
from edgenext.report.twin import kept_rows, twin_table
from edgenext.report.verdict import judge
from edgenext.schema import TwinReport, TwinRow


def twin(same_file: bool = True) -> TwinReport:
    rows = [
        TwinRow(engine=engine, on=on, comparison=compared(f"{engine}-{on}", lost, 5, 1000, 30.0))
        for engine, on, lost in (
            ("edgenext", "network", 6),
            ("edgenext", "twin", 6),
            ("onnxruntime", "network", 8),
            ("onnxruntime", "twin", 90),
        )
    ]
    return TwinReport(seed=0, strength=3, n=1000, same_file=same_file, rows=tuple(rows))


def test_the_collapse_and_the_cure_stand_in_the_report() -> None:
    found_run = summary().model_copy(update={"twin": twin()})
    found = study(found_run)
    table = twin_table(found)
    assert table is not None
    assert [row[:2] for row in table.rows] == [
        ("ours", "network"),
        ("ours", "twin"),
        ("onnxruntime’s defaults", "network"),
        ("onnxruntime’s defaults", "twin"),
    ]
    assert table.rows[3][3].startswith("8.50 (")
    assert "to the byte" in " ".join(table.sentences)
    for text in (page(found, judge(found), []), markdown(found, judge(found))):
        assert "Badly scaled channels" in text and "edgenext stress" in text and "8.50" in text
    other = study(found_run.model_copy(update={"twin": twin(same_file=False)}))
    assert "to the byte" not in " ".join(twin_table(other).sentences)


def test_a_run_without_a_twin_has_no_such_section() -> None:
    found = study(summary())
    assert twin_table(found) is None
    assert "Badly scaled" not in page(found, judge(found), [])


def test_sites_in_float_are_grouped_by_reason() -> None:
    kept = {f"stages.0.{i}.norm": "no kernel" for i in range(5)} | {"head": "<small>"}
    found = study(summary().model_copy(update={"kept_float": kept}))
    assert kept_rows(found) == [
        ("5 sites: stages.0.0.norm, stages.0.1.norm, stages.0.2.norm, …", "no kernel"),
        ("1 site: head", "<small>"),
    ]
    assert "&lt;small&gt;" in page(found, judge(found), [])


def test_the_verdict_names_what_to_ship() -> None:
    assert {PLAIN, FOLDED, INT8} > {judge(study(summary())).recommended} - {None}
