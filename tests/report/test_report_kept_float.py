from __future__ import annotations

from report_runs import summary

from edgenext.report.kept_float import FloatSites, float_sites, warnings
from edgenext.report.markdown import markdown
from edgenext.report.page import page
from edgenext.report.study import study_of
from edgenext.report.verdict import judge
from edgenext.schema import RunSummary

NORMS = tuple(f"stages.0.{i}.norm" for i in range(5))
CLIPPED = "2 tensors would clip more than 1% of its calibration values: <a>, b"


def documents(run: RunSummary) -> tuple[str, str]:
    study = study_of(run)
    return page(study, judge(study), []), markdown(study, judge(study))


def test_sites_in_float_are_grouped_by_reason() -> None:
    reasons = {"head": "<small>"} | dict.fromkeys(NORMS, "no kernel")
    run = summary().model_copy(update={"kept_float": reasons})
    rows = float_sites(study_of(run))
    assert rows == [FloatSites(NORMS, "no kernel"), FloatSites(("head",), "<small>")]
    short = "5 sites: stages.0.0.norm, stages.0.1.norm, stages.0.2.norm and 2 more"
    assert [row.short for row in rows] == [short, "1 site: head"]
    html, text = documents(run)
    assert f"<details><summary>{short}</summary>{', '.join(NORMS)}</details>" in html
    assert "<dt>1 site: head</dt><dd>&lt;small&gt;</dd>" in html
    assert f"- {short}: no kernel" in text


def test_warnings_of_the_manifest_stand_in_the_report() -> None:
    run = summary()
    warned = run.artifacts[2].model_copy(update={"warnings": (CLIPPED,)})
    run = run.model_copy(update={"artifacts": (*run.artifacts[:2], warned)})
    assert warnings(study_of(run)) == [CLIPPED]
    html, text = documents(run)
    for document in (html, text):
        assert "Warnings about the calibration" in document
        assert "2 tensors would clip more than 1% of its calibration values: &lt;a&gt;" in document


def test_a_warning_of_one_file_among_several_names_it() -> None:
    run = summary()
    int8 = run.artifacts[2]
    warned = int8.model_copy(update={"warnings": (CLIPPED, "one image")})
    other = int8.model_copy(
        update={
            "artifact": "/runs/demo/baseline.onnx",
            "engine": "onnxruntime",
            "sha256": "0" * 64,
            "warnings": ("one image",),
        }
    )
    run = run.model_copy(update={"artifacts": (*run.artifacts[:2], warned, other)})
    assert warnings(study_of(run)) == [f"w8a8-static: {CLIPPED}", "one image"]


def test_nothing_kept_and_nothing_warned_has_no_section() -> None:
    for document in documents(summary()):
        assert "stays in float" not in document
        assert "Warnings about" not in document
