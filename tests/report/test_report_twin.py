from __future__ import annotations

from report_runs import compared, sha, summary

from edgenext.report.markdown import markdown
from edgenext.report.page import page
from edgenext.report.plots import plots
from edgenext.report.study import study_of
from edgenext.report.twin import TITLE, twin_table
from edgenext.report.verdict import judge
from edgenext.schema import TwinReport, TwinRow

OWN, BASELINE = "edgenext", "onnxruntime (defaults)"


def twin(same_file: bool = True, lost: int = 90) -> TwinReport:
    rows = [
        TwinRow(engine=engine, on=on, comparison=compared(f"{engine}-{on}", lost, 5, 1000, 30.0))
        for engine, on, lost in (
            ("edgenext", "network", 6),
            ("edgenext", "twin", 6),
            ("onnxruntime", "network", 8),
            ("onnxruntime", "twin", lost),
        )
    ]
    return TwinReport(seed=0, strength=3, n=1000, same_file=same_file, rows=tuple(rows))


def test_the_collapse_and_the_cure_stand_in_the_report() -> None:
    study = study_of(summary().model_copy(update={"twin": twin()}))
    table = twin_table(study)
    assert table is not None
    assert [row[:2] for row in table.rows] == [
        (OWN, "the network"),
        (OWN, "the twin"),
        (BASELINE, "the network"),
        (BASELINE, "the twin"),
    ]
    assert table.rows[3][3].startswith("8.50 (")
    own, baseline = table.findings
    assert own.startswith("edgenext writes the same file for the twin as for the network, byte for")
    assert sha("edgenext-twin")[:12] in own
    assert baseline.startswith(f"{BASELINE} collapses: it loses 8.50 (")
    assert " points on the twin and 0.30 (" in baseline
    html, text = page(study, judge(study), []), markdown(study, judge(study))
    for document in (html, text):
        assert TITLE in document and "8.50" in document and "not timed" in document
    assert "<code>edgenext stress</code>" in html
    assert "`edgenext stress`" in text


def test_what_holds_on_the_folded_graph_is_due_to_folding() -> None:
    report = twin()
    pair = compared("folded", 7, 5, 1000, 30.0)
    rows = [
        *report.rows,
        *(TwinRow(engine="nncf", on=on, comparison=pair) for on in ("network", "twin")),
    ]
    table = twin_table(
        study_of(
            summary().model_copy(update={"twin": report.model_copy(update={"rows": tuple(rows)})})
        )
    )
    assert table is not None
    *_, nncf, cause = table.findings
    assert nncf.startswith("NNCF (folded graph) writes the same file for the twin as for the netw")
    assert cause.endswith("what helps on the twin is folding, not the quantizer.")


def test_nothing_is_said_that_the_rows_do_not_show() -> None:
    run = summary().model_copy(update={"twin": twin(same_file=False, lost=9)})
    table = twin_table(study_of(run))
    assert table is not None
    assert [sentence.partition(":")[0] for sentence in table.findings] == [
        "edgenext holds",
        f"{BASELINE} holds",
    ]
    assert "byte for byte" not in " ".join(table.findings)


def test_a_twin_changes_nothing_about_the_network_itself() -> None:
    run = summary()
    alone, beside = study_of(run), study_of(run.model_copy(update={"twin": twin()}))
    assert judge(alone) == judge(beside)
    drawn = [plots(study, judge(study), None) for study in (alone, beside)]
    assert drawn[0] == drawn[1]


def test_a_run_without_a_twin_has_no_such_section() -> None:
    study = study_of(summary())
    assert twin_table(study) is None
    assert TITLE not in page(study, judge(study), [])
