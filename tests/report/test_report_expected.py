from __future__ import annotations

import pytest
from report_runs import BUSY, ENVIRONMENT, INT8, summary

from edgenext.report.expected import expectation_text
from edgenext.report.markdown import markdown
from edgenext.report.page import page
from edgenext.report.study import study_of
from edgenext.report.verdict import judge
from edgenext.schema import RunSummary


def text_of(run: RunSummary) -> str:
    study = study_of(run)
    return expectation_text(study, judge(study))


@pytest.mark.parametrize(
    ("ms", "end"),
    [
        ((12.8, 10.85, 8.26), ": as expected."),
        ((12.8, 10.85, 10.0), ": less than expected."),
        ((12.8, 10.85, 5.0), ": more than expected."),
    ],
)
def test_what_was_measured_stands_beside_what_was_expected(
    ms: tuple[float, float, float], end: str
) -> None:
    text = text_of(summary(ms=ms))
    assert text.startswith("On AVX2 without VNNI, INT8 is expected to run 1.5x to 1.7x as fast as")
    assert f"This run measured {int(ms[0] / ms[2])}." in text
    assert end in text
    assert "other conditions" not in text


def test_a_timing_that_is_not_valid_is_not_compared() -> None:
    text = text_of(summary(reasons={INT8: (BUSY,)}))
    assert "no valid timing" in text and "This run measured" not in text
    assert "use INT8" not in text, "the verdict alone says what to do"


def test_other_conditions_are_named() -> None:
    run = summary()
    odd = [
        r.model_copy(update={"size": "32×32", "threads": 2, "runtime": "openvino"})
        for r in run.bench.results
    ]
    bench = run.bench.model_copy(update={"results": tuple(odd)})
    text = text_of(run.model_copy(update={"bench": bench}))
    assert " under other conditions (at 32×32, with 2 threads, in openvino): " in text


def test_an_unknown_cpu_has_a_measurement_and_no_expectation() -> None:
    unknown = ENVIRONMENT.model_copy(update={"isa": (), "os": "Windows-11"})
    text = text_of(summary(environment=unknown))
    assert text.startswith("There is no expectation for INT8 on ")
    assert "This run measured 1.5" in text
    assert "expected to" not in text and "as expected" not in text


def test_there_is_no_expectation_for_what_it_is_not_about() -> None:
    run = summary()
    assert text_of(summary(environment=None)) == ""
    assert text_of(summary(evidence="emulated")) == ""
    for other in ({"target": "jetson"}, {"engine": "onnxruntime"}, {"scheme": "w8a8-dynamic"}):
        changed = run.artifacts[2].model_copy(update=other)
        parts = {"artifacts": (*run.artifacts[:2], changed)}
        assert text_of(run.model_copy(update=parts)) == "", other
    assert text_of(run.model_copy(update={"artifacts": run.artifacts[:2]})) == ""


def test_it_stands_under_the_verdict_of_both_documents() -> None:
    bf16 = ENVIRONMENT.model_copy(update={"isa": ("avx2", "avx512_vnni", "avx512_bf16")})
    noisy = text_of(summary(environment=bf16, reasons={INT8: (BUSY,)}))
    assert noisy.count("--scheme bf16") == 1
    study = study_of(summary(environment=bf16))
    verdict = judge(study)
    html, text = page(study, verdict, []), markdown(study, verdict)
    typed = "--target cpu-openvino --scheme bf16"
    assert f"Bench <code>{typed}</code> beside it" in html
    assert f"Bench `{typed}` beside it" in text
    other = study.summary.artifacts[1].model_copy(update={"scheme": "bf16"})
    with_one = study.summary.model_copy(
        update={"artifacts": (study.summary.artifacts[0], other, study.summary.artifacts[2])}
    )
    assert "--scheme bf16" not in text_of(with_one)
    assert html.index("1.6x to 2.1x as fast") < html.index("<h2>Results</h2>")
    assert text.index("1.6x to 2.1x as fast") < text.index("## Results")
