from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from report_runs import BUSY, FOLDED, INT8, PLAIN, logits, measured, predictions_of, summary

from edgenext.report.answers import changed_answers
from edgenext.report.plots import plots
from edgenext.report.plots.canvas import drawable, spread
from edgenext.report.predictions import RunPredictions
from edgenext.report.study import study_of
from edgenext.report.verdict import judge
from edgenext.schema import BenchReport, RunSummary

STAGES = {"stem": 38.2, "stage1": 35.1, "stage2": 32.0, "stage3": 27.4, "stage4": 25.9}


def drawn(run: RunSummary, predictions: RunPredictions | None = None) -> dict[str, str]:
    study = study_of(run)
    return {p.name: p.svg for p in plots(study, judge(study), predictions)}


def texts(svg: str) -> str:
    return " ".join(re.findall(r">([^<>]+)</t", svg))


def test_a_plot_is_drawn_for_what_the_run_holds_and_no_more() -> None:
    run, arrays = measured(stages=STAGES)
    assert list(drawn(run, predictions_of(arrays))) == ["tradeoff", "rounds", "flips", "stages"]
    assert list(drawn(summary())) == ["tradeoff", "rounds"]
    untimed = summary().model_copy(update={"bench": BenchReport(results=(), ratios=())})
    assert drawn(untimed) == {}


def test_colours_follow_the_page() -> None:
    run, arrays = measured(stages=STAGES)
    for name, svg in drawn(run, predictions_of(arrays)).items():
        assert "var(--s2)" in svg, name
        assert "var(--muted)" in svg, name
        assert re.findall(r"#[0-9a-f]{6}\b", svg) == [], name


def test_a_stage_left_in_float_does_not_flatten_the_others() -> None:
    run, _ = measured(stages=STAGES | {"stem": 200.0})
    svg = drawn(run)["stages"]
    assert "float" in texts(svg) and "200" not in texts(svg)
    assert "38.2" not in texts(svg) and "35.1" in texts(svg)
    assert "float" not in texts(drawn(measured(stages=STAGES)[0])["stages"])


def test_each_file_is_named_in_the_plots() -> None:
    for svg in drawn(summary()).values():
        for label in ("FP32 plain", "FP32 folded", "w8a8-static"):
            assert label in texts(svg)


def test_a_timing_that_is_not_valid_is_marked() -> None:
    svgs = drawn(summary(reasons={INT8: (BUSY,)}))
    assert "w8a8-static, not valid" in texts(svgs["tradeoff"])
    assert "not valid" in texts(svgs["rounds"])
    assert "not valid" not in texts("".join(drawn(summary()).values()))


@pytest.mark.parametrize(
    "run",
    [
        summary(ms=(12.8, 10.0, 11.4)),
        summary(lost=900, gained=10),
        summary(n=10, lost=0, gained=0),
        summary(ms=(5.0, 5.0, 5.0), noise=0.0),
        summary(noise=0.6),
    ],
    ids=["slow", "bad", "few", "equal", "noisy"],
)
def test_extreme_runs_can_be_drawn(run: RunSummary) -> None:
    assert set(drawn(run)) == {"tradeoff", "rounds"}


def test_changed_answers_are_those_of_the_predictions() -> None:
    plain, _, int8 = study_of(summary()).entries
    base = np.array([[2, 1, 0], [2, 1, 0], [2, 1.5, 0], [2, 1, 0], [0, 0, 3]], np.float32)
    other = np.array([[1, 2, 0], [1, 2, 0], [1, 2, 0], [2, 1, 0], [0, 0, 3]], np.float32)
    labels = np.array([0, 1, 2, 0, 2])
    got = changed_answers(plain, int8, predictions_of({PLAIN: base, INT8: other, "labels": labels}))
    assert got.lost.tolist() == [True, False, False, False, False]
    assert got.gained.tolist() == [False, True, False, False, False]
    assert got.other.tolist() == [False, False, True, False, False]
    assert got.margin.tolist() == [1.0, 1.0, 0.5, 1.0, 3.0]


def test_no_plot_of_flips_without_the_predictions_of_both() -> None:
    run, arrays = measured()
    predictions = predictions_of(arrays)
    without = replace(predictions, by_name={FOLDED: predictions.by_name[FOLDED]})
    assert "flips" not in drawn(run, without)


def test_equal_logits_are_drawn_and_said() -> None:
    arrays = logits(100)
    arrays[INT8] = arrays[PLAIN]
    run = summary(n=100, lost=0, gained=0)
    study = study_of(run)
    plot = next(p for p in plots(study, judge(study), predictions_of(arrays)) if p.name == "flips")
    assert plot.caption == "w8a8-static gives the same answer as FP32 plain for every image."


def test_a_single_change_is_not_called_half() -> None:
    arrays = logits(100)
    first, second = np.argsort(arrays[PLAIN][0])[::-1][:2]
    arrays[INT8] = arrays[PLAIN].copy()
    arrays[INT8][0, second] = arrays[PLAIN][0, first] + 1
    arrays["labels"][0] = first
    run = summary(n=100, lost=1, gained=0)
    study = study_of(run)
    plot = next(p for p in plots(study, judge(study), predictions_of(arrays)) if p.name == "flips")
    assert "answers 1 differently. Its margin was " in plot.caption


def test_constant_logits_are_drawn() -> None:
    values = np.zeros((20, 5), np.float32)
    study = study_of(summary(n=20, lost=0, gained=0))
    arrays = {PLAIN: values, INT8: values, "labels": np.zeros(20, np.int64)}
    assert "flips" in [p.name for p in plots(study, judge(study), predictions_of(arrays))]
    one_class = {
        name: values[..., :1] if values.ndim > 1 else values for name, values in arrays.items()
    }
    assert "flips" not in [p.name for p in plots(study, judge(study), predictions_of(one_class))]


def test_many_flips_do_not_swell_the_file() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(20_000, 10)).astype(np.float32)
    other = rng.normal(size=(20_000, 10)).astype(np.float32)
    labels = rng.integers(0, 10, 20_000)
    was, now = base.argmax(1) == labels, other.argmax(1) == labels
    lost, gained = int((was & ~now).sum()), int((~was & now).sum())
    run = summary(n=20_000, lost=lost, gained=gained)
    svg = drawn(run, predictions_of({PLAIN: base, INT8: other, "labels": labels}))["flips"]
    assert len(svg) < 120_000


def test_names_are_cut_and_kept_to_the_fonts_letters() -> None:
    assert drawable("w8a8-static") == "w8a8-static"
    assert drawable("名前") == "??"
    assert drawable("x" * 100 + "-int8") == "…" + "x" * 18 + "-int8"


def test_labels_are_moved_apart_and_keep_their_order() -> None:
    assert spread([1.0, 5.0, 1.2], 1.0) == [1.0, 5.0, 2.0]
    assert spread([3.0], 1.0) == [3.0]
