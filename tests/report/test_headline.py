"""The four lines that a report begins with."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_runs import BUSY, FOLDED, INT8, PLAIN, SCHEMES, benchmark, summary, timed, without_int8
from test_report_devices import jetson_run

from edgenext.report.headline import lines_in
from edgenext.report.study import study_of
from edgenext.report.verdict import judge
from edgenext.schema import RunSummary, Verdict


def verdict_on(run: RunSummary, budget: float = 1.0) -> Verdict:
    return judge(study_of(run), budget)


def in_folder(run: RunSummary) -> RunSummary:
    """The run with paths as a run records them."""
    artifacts = (
        a.model_copy(update={"artifact": a.artifact.replace("/runs/demo/", "artifacts/")})
        for a in run.artifacts
    )
    return run.model_copy(update={"artifacts": tuple(artifacts)})


def test_a_file_to_ship() -> None:
    verdict = verdict_on(in_folder(summary()))
    decision, fast, accurate, step = verdict.lines
    assert (verdict.decision, decision) == ("SHIP", "SHIP net-w8a8-static.onnx")
    assert fast.startswith("✓ speed: 1.31x as fast as FP32 folded (1.2")
    assert "; 1.5" in fast and "x as fast as FP32 plain (1." in fast
    assert accurate == (
        "✓ accuracy: 0.06 points of top-1 lost (−0.30 to 0.42, n = 5,000), within the budget of "
        "1 point"
    )
    command = "edgenext predict artifacts/net-w8a8-static.onnx PHOTO.jpg"
    assert step == f"next, in the run’s folder: {command}"
    assert lines_in(verdict, Path("runs/a b"))[3] == f"next: cd 'runs/a b' && {command}"


def test_a_gain_is_called_one() -> None:
    accurate = verdict_on(summary(lost=30, gained=60)).lines[2]
    assert accurate.startswith("✓ accuracy: 0.60 points of top-1 gained (0.2")


def test_a_file_that_is_not_faster_is_not_shipped() -> None:
    decision, fast, accurate, step = verdict_on(summary(ms=(12.8, 10.0, 11.4))).lines
    assert decision == "DO NOT SHIP net-w8a8-static.onnx: ship net-fp32.onnx instead"
    assert fast.startswith("✗ speed: 0.88x as fast as FP32 folded")
    assert accurate.startswith("✓ accuracy")
    assert step.endswith("edgenext predict net-fp32.onnx PHOTO.jpg")


def test_a_drop_over_the_budget_is_searched_for_a_better_file() -> None:
    decision, fast, accurate, step = verdict_on(summary(lost=300, gained=90)).lines
    assert decision == "DO NOT SHIP net-w8a8-static.onnx: ship net-fp32.onnx instead"
    assert fast.startswith("✓ speed")
    assert accurate.startswith("✗ accuracy: 4.20 points of top-1 lost (3.")
    assert accurate.endswith(", over the budget of 1 point")
    assert step.endswith("edgenext search net-fp32.onnx --calib IMAGES --data IMAGES --max-drop 1")


def test_a_budget_inside_the_interval_is_not_decided() -> None:
    decision, fast, accurate, step = verdict_on(summary(n=200, lost=3, gained=2)).lines
    assert decision == "NOT DECIDED: net-w8a8-static.onnx"
    assert (fast[0], accurate[0]) == ("✓", "?")
    assert accurate.endswith("n = 200): the interval includes the budget of 1 point")
    assert "edgenext compare net-fp32-plain.onnx net-w8a8-static.onnx --data MORE-IMAGES" in step
    part = verdict_on(summary(n=200, n_total=5000, lost=3, gained=2))
    assert part.lines[3].endswith(f"--data IMAGES --limit {part.images_needed}")


def test_a_speed_within_the_noise_is_not_decided() -> None:
    decision, fast, _, step = verdict_on(summary(ms=(12.8, 10.0, 10.0), noise=0.03)).lines
    assert decision.startswith("NOT DECIDED: ")
    assert fast.startswith("? speed: 0.996x as fast as FP32 folded (0.957–1.029: no measurable ")
    assert "; 1.27x as fast as FP32 plain (1.2" in fast
    assert step.endswith("edgenext bench net-fp32.onnx net-w8a8-static.onnx --rounds 120")


def test_a_noisy_timing_is_measured_again_by_the_same_command() -> None:
    run = summary(reasons={INT8: (BUSY,)})
    results = [r.model_copy(update={"noisy": not r.valid}) for r in run.bench.results]
    bench = run.bench.model_copy(update={"results": tuple(results)})
    verdict = verdict_on(run.model_copy(update={"bench": bench}))
    assert verdict.lines[1] == (
        "? speed: the timing of w8a8-static is not valid, since other programs used 1.10 of 2 "
        "cores (limit 0.25)"
    )
    assert verdict.lines[3] == f"next: {run.command} --measure-again"
    assert lines_in(verdict, Path("elsewhere"))[3] == verdict.lines[3], "it needs no other folder"


@pytest.mark.parametrize("name", [PLAIN, FOLDED, INT8])
def test_no_factor_of_a_timing_that_is_not_valid_is_shown(name: str) -> None:
    run = summary(reasons={name: (BUSY,)})
    fast = verdict_on(run).lines[1]
    for ratio in run.bench.ratios:
        if name in (ratio.a, ratio.b):
            assert f"{ratio.median:.2f}x as fast" not in fast


def test_undecided_is_never_followed_by_advice_to_use_int8() -> None:
    undecided = (
        summary(n=200, lost=3, gained=2),
        summary(ms=(12.8, 10.0, 10.0), noise=0.03),
        summary(reasons=dict.fromkeys(SCHEMES, (BUSY,))),
        summary(evidence="emulated"),
        jetson_run(),
    )
    for run in undecided:
        verdict = verdict_on(run)
        assert verdict.decision == "NOT DECIDED" and verdict.recommended is None
        text = " ".join((*verdict.lines, *verdict.reasons)).lower()
        assert "use int8" not in text and "ship net" not in text


def test_a_run_without_int8_says_how_to_make_it() -> None:
    verdict = verdict_on(without_int8(summary()))
    assert verdict.lines == (
        "NOT DECIDED: the run made no INT8 file",
        "? speed: the run made no INT8 file",
        "? accuracy: the run made no INT8 file",
        "next, in the run’s folder: edgenext quantize net-fp32.onnx --calib IMAGES",
    )


def test_hostile_names_stay_on_their_line_and_in_their_argument() -> None:
    run = in_folder(summary())
    odd = run.artifacts[2].model_copy(update={"artifact": "artifacts/$(rm -rf .)\n'x.onnx"})
    run = run.model_copy(update={"artifacts": (*run.artifacts[:2], odd)})
    renamed = "$(rm -rf .)\n'x"
    timing = timed(INT8, 8.26).model_copy(update={"artifact": renamed})
    (folded, pair) = run.compare.others
    others = (folded, pair.model_copy(update={"artifact": renamed}))
    run = run.model_copy(
        update={
            "bench": benchmark([*run.bench.results[:2], timing]),
            "eval": run.eval.model_copy(update={"results": run.eval.results[:2]}),
            "compare": run.compare.model_copy(update={"others": others}),
        }
    )
    verdict = verdict_on(run)
    assert not any("\n" in line for line in verdict.lines)
    assert verdict.lines[3].startswith("next, in the run’s folder: edgenext predict 'artifacts/$(")
