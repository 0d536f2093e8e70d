from __future__ import annotations

import pytest
from report_runs import (
    BUSY,
    ENVIRONMENT,
    FOLDED,
    INT8,
    PLAIN,
    SCHEMES,
    benchmark,
    compared,
    exported,
    summary,
    timed,
    without_int8,
)

from edgenext.metrics.statistics import tango_interval
from edgenext.report.study import study_of
from edgenext.report.verdict import judge
from edgenext.schema import BenchReport, CompareReport, RunSummary, Verdict


def verdict_on(run: RunSummary, budget: float = 1.0) -> Verdict:
    return judge(study_of(run), budget)


def test_int8_that_is_faster_and_right_pays() -> None:
    verdict = verdict_on(summary())
    assert verdict.pays is True
    assert (verdict.artifact, verdict.base, verdict.rival) == (INT8, PLAIN, FOLDED)
    assert verdict.sentence.startswith(
        "INT8 paid on this machine (AVX2): edgenext_xx_small w8a8-static runs 1.5"
    )
    assert "x as fast as the plain FP32 export (95 % interval 1." in verdict.sentence
    assert ") at 0.31x its size, and 1.3" in verdict.sentence
    assert "x as fast as the folded FP32 export (1." in verdict.sentence
    assert verdict.sentence.endswith(
        "; its top-1 is 30.88 %, a drop of 0.06 points (95 % interval −0.30 to 0.42, n = 5,000: "
        "41 lost, 38 gained)."
    )
    assert verdict.recommended == INT8
    assert verdict.reasons[2:] == (
        "Ship net-w8a8-static.onnx (w8a8-static) on machines like this.",
    )


def test_the_sentence_agrees_with_the_measured_ratio() -> None:
    run = summary()
    ratio = next(r for r in run.bench.ratios if (r.a, r.b) == (PLAIN, INT8))
    low, high = ratio.ci95
    assert f"runs {ratio.median:.2f}x as fast" in verdict_on(run).sentence
    assert f"{low:.2f}–{high:.2f}" in verdict_on(run).sentence


def test_int8_must_beat_the_folded_float_file_not_only_the_plain_one() -> None:
    verdict = verdict_on(summary(ms=(12.8, 10.0, 11.4)))
    assert verdict.pays is False
    assert verdict.rival == FOLDED
    assert "it is not faster than the folded FP32 export" in verdict.sentence
    assert "runs 1.12x as fast as the plain FP32 export" in verdict.sentence
    assert "0.88x as fast as the folded FP32 export" in verdict.sentence
    assert verdict.recommended == FOLDED
    assert verdict.sentence.endswith("; ship net-fp32.onnx instead.")
    assert verdict.reasons[-1] == "Ship net-fp32.onnx (FP32 folded) on machines like this."


def test_the_plain_export_is_to_be_beaten_where_folding_made_it_slower() -> None:
    verdict = verdict_on(summary(ms=(12.0, 14.0, 13.0)))
    assert verdict.rival == PLAIN
    assert verdict.pays is False
    assert "not faster than the plain FP32 export" in verdict.sentence


def test_speeds_without_a_measurable_difference_give_no_verdict() -> None:
    verdict = verdict_on(summary(ms=(12.8, 10.0, 10.0), noise=0.03))
    assert verdict.pays is None
    assert (
        "its speed does not differ measurably from that of the folded FP32 export"
        in verdict.sentence
    )
    assert "more rounds would not help" in verdict.reasons[0]
    assert verdict.recommended is None
    assert "hip net" not in " ".join((verdict.sentence, *verdict.reasons))


def test_a_speed_within_the_noise_floor_is_no_win() -> None:
    """The second process of the plain file is 2 % slower: 1.01 says nothing, 1.06 does."""
    close = summary(ms=(12.8, 10.1, 10.0), noise=0.0, second_ms=12.8 * 1.02)
    ratio = next(r for r in close.bench.ratios if (r.a, r.b) == (INT8, PLAIN))
    assert close.bench.noise and close.bench.noise.floor == pytest.approx(0.02, abs=1e-3)
    assert ratio.rounds_ci95 and ratio.ci95[0] < ratio.rounds_ci95[0]
    verdict = verdict_on(close)
    assert (verdict.pays, verdict.recommended) == (None, None)
    assert (
        "does not differ measurably from that of the folded FP32 export on this machine"
        in verdict.sentence
    )
    assert "1.01x as fast as the folded FP32 export (0.99" in verdict.sentence
    assert "within the noise floor, so more rounds would not help" in verdict.reasons[0]
    assert "the noise floor is 2.0 %" in verdict.reasons[0]
    clear = summary(ms=(12.8, 10.6, 10.0), noise=0.0, second_ms=12.8 * 1.02)
    assert verdict_on(clear).pays is True
    noisier = summary(ms=(12.8, 10.6, 10.0), noise=0.0, second_ms=12.8 / 1.08)
    assert verdict_on(noisier).pays is None
    slower = summary(ms=(12.8, 10.0, 10.1), noise=0.0, second_ms=12.8 * 1.02)
    assert verdict_on(slower).pays is None, "nor is it a loss"


def test_without_a_second_process_a_floor_is_assumed() -> None:
    """Results of an earlier version, and of runners that measure each file once."""
    run = summary(ms=(12.8, 10.25, 10.0), noise=0.0)
    old = [r.model_copy(update={"rounds_ci95": None, "distinguishable": None})
           for r in run.bench.ratios]  # fmt: skip
    bench = run.bench.model_copy(update={"ratios": tuple(old), "noise": None})
    verdict = verdict_on(run.model_copy(update={"bench": bench}))
    assert verdict.pays is None
    assert "no noise floor was measured, 3.0 % is assumed" in verdict.reasons[0]
    assert verdict_on(run).pays is True, "a floor of 2 % was measured"


def test_of_files_that_cannot_be_told_apart_the_nearer_one_is_judged() -> None:
    run = two_int8(ms=8.2, lost=41)
    *others, extra = run.compare.others
    for db, name in ((40.0, "other"), (20.0, INT8)):
        nearer = (*others, extra.model_copy(update={"sqnr_db": db}))
        compare = run.compare.model_copy(update={"others": nearer})
        assert verdict_on(run.model_copy(update={"compare": compare})).artifact == name


def test_a_drop_over_the_budget_does_not_pay_however_fast() -> None:
    verdict = verdict_on(summary(lost=300, gained=90))
    assert verdict.pays is False
    assert "its top-1 drop is over the budget of 1 point;" in verdict.sentence
    assert verdict.recommended == FOLDED


def test_the_budget_decides() -> None:
    run = summary(lost=300, gained=90)
    upper = tango_interval(300, 90, 5000)[1]
    assert verdict_on(run, upper).pays is True
    assert verdict_on(run, upper - 0.001).pays is None
    assert verdict_on(run, 0.5).pays is False
    assert verdict_on(run, 0.5).budget == 0.5


def test_too_few_images_say_how_many_would_do() -> None:
    verdict = verdict_on(summary(n=200, lost=3, gained=2))
    assert verdict.pays is None
    assert verdict.images_needed is not None
    n, share = verdict.images_needed, verdict.images_needed / 200
    assert tango_interval(3 * share, 2 * share, n)[1] < 1.0
    assert n > 200
    assert (
        "200 images do not show that its drop is within the budget of 1 point" in verdict.sentence
    )
    assert "if they flip as often as these" in verdict.sentence


def test_no_number_of_images_is_promised_for_a_drop_over_the_budget() -> None:
    verdict = verdict_on(summary(n=200, lost=5, gained=2))
    assert verdict.pays is None
    assert verdict.images_needed is None
    assert "so these images cannot tell" in verdict.sentence
    # the interval contains the budget: that no number of images would do is not known
    assert "images that flip as often would show it" in verdict.reasons[1]


def test_a_gain_is_called_one() -> None:
    verdict = verdict_on(summary(lost=30, gained=60))
    assert verdict.pays is True
    assert "a drop of −0.60 points (that is, a gain; 95 % interval" in verdict.sentence


@pytest.mark.parametrize("name", [PLAIN, FOLDED, INT8])
def test_an_invalid_timing_is_never_in_the_headline(name: str) -> None:
    verdict = verdict_on(summary(reasons={name: (BUSY,)}))
    assert verdict.pays is None
    assert (
        "is not valid, since other programs used 1.10 of 2 cores (limit 0.25);" in verdict.sentence
    )
    assert BUSY in verdict.reasons[0]
    run = summary()
    for ratio in run.bench.ratios:
        if name in (ratio.a, ratio.b):
            assert f"{ratio.median:.2f}x as fast" not in verdict.sentence


def test_every_reason_against_a_timing_is_given_and_its_accuracy_still_reported() -> None:
    other = "30 rounds are too few to trust: ask for more"
    verdict = verdict_on(summary(reasons={INT8: (BUSY, other)}))
    assert BUSY in verdict.reasons[0]
    assert other in verdict.reasons[0]
    assert "; the top-1 of edgenext_xx_small w8a8-static is 30.88 %" in verdict.sentence


def test_losing_to_a_valid_float_file_stands_though_another_timing_is_not_valid() -> None:
    verdict = verdict_on(summary(ms=(12.0, 14.0, 13.0), reasons={FOLDED: (BUSY,)}))
    assert verdict.pays is False


def test_too_large_a_drop_stands_though_no_timing_is_valid() -> None:
    verdict = verdict_on(summary(lost=300, gained=90, reasons=dict.fromkeys(SCHEMES, (BUSY,))))
    assert verdict.pays is False
    assert "as fast" not in verdict.sentence


@pytest.mark.parametrize("evidence", ["simulator", "emulated", "estimate", "published"])
def test_a_latency_that_nobody_measured_gives_no_verdict(evidence: str) -> None:
    verdict = verdict_on(summary(evidence=evidence))  # type: ignore[arg-type]
    assert verdict.pays is None
    assert "as fast" not in verdict.sentence


def test_a_drop_on_the_calibration_images_gives_no_verdict() -> None:
    run = summary()
    assert run.compare.data is not None
    verdict = verdict_on(run.model_copy(update={"calibration": run.compare.data}))
    assert verdict.pays is None
    assert "measured on the images it was calibrated on" in verdict.sentence


def without(run: RunSummary, name: str) -> RunSummary:
    """The run without one artifact's timing."""
    results = [r for r in run.bench.results if r.artifact != name]
    bench = benchmark(results)
    return run.model_copy(update={"bench": bench})


def test_what_was_not_timed_is_said() -> None:
    assert "w8a8-static was not timed" in verdict_on(without(summary(), INT8)).sentence
    alone = without(without(summary(), PLAIN), FOLDED)
    assert "no floating-point file was timed" in verdict_on(alone).sentence
    assert verdict_on(alone).pays is None


def test_files_of_other_conditions_are_not_compared() -> None:
    run = summary()
    *floats, int8 = run.bench.results
    two_threads = int8.model_copy(update={"threads": 2})
    verdict = verdict_on(
        run.model_copy(update={"bench": BenchReport(results=(*floats, two_threads), ratios=())})
    )
    assert verdict.pays is None
    assert "were not timed together" in verdict.sentence


def test_a_run_without_int8() -> None:
    verdict = verdict_on(without_int8(summary()))
    assert verdict.pays is None
    assert verdict.artifact is None
    assert verdict.sentence == (
        "Cannot tell whether INT8 paid on this machine: the run made no INT8 file."
    )


def test_int8_that_was_not_compared() -> None:
    run = summary()
    verdict = verdict_on(
        run.model_copy(update={"compare": CompareReport(n=5000, base=run.compare.base, others=())})
    )
    assert verdict.pays is None
    assert "was not compared with the base" in verdict.sentence


def two_int8(ms: float, lost: int) -> RunSummary:
    """A run with a second INT8 file, `other`."""
    run = summary()
    results = [*run.bench.results, timed("other", ms)]
    extra = compared("other", lost, 38, 5000)
    return run.model_copy(
        update={
            "artifacts": (*run.artifacts, exported("other")),
            "compare": run.compare.model_copy(update={"others": (*run.compare.others, extra)}),
            "bench": benchmark(results),
        }
    )


def test_of_two_int8_files_the_faster_one_that_pays_is_judged() -> None:
    assert verdict_on(two_int8(ms=6.0, lost=41)).artifact == "other"
    assert verdict_on(two_int8(ms=9.0, lost=41)).artifact == INT8
    worse = verdict_on(two_int8(ms=6.0, lost=400))
    assert worse.artifact == INT8
    assert worse.pays is True


def with_bf16(ms: float, lost: int, gained: int = 38) -> RunSummary:
    """A run with a BF16 file beside the two FP32 ones."""
    run = summary()
    bf16 = {"scheme": "bf16"}
    results = [*run.bench.results, timed("net-bf16", ms).model_copy(update=bf16)]
    extra = compared("net-bf16", lost, gained, 5000).model_copy(update=bf16)
    return run.model_copy(
        update={
            "artifacts": (*run.artifacts, exported("net-bf16").model_copy(update=bf16)),
            "compare": run.compare.model_copy(update={"others": (*run.compare.others, extra)}),
            "bench": benchmark(results),
        }
    )


def test_a_faster_bf16_file_is_shipped_instead() -> None:
    verdict = verdict_on(with_bf16(ms=6.0, lost=41))
    assert (verdict.pays, verdict.rival, verdict.recommended) == (False, "net-bf16", "net-bf16")
    assert "it is not faster than the folded BF16 export" in verdict.sentence
    assert verdict.sentence.endswith("; ship net-bf16.onnx instead.")
    assert verdict_on(with_bf16(ms=9.5, lost=41)).recommended == INT8


def test_a_bf16_file_that_loses_too_much_is_not_to_be_beaten() -> None:
    verdict = verdict_on(with_bf16(ms=6.0, lost=400))
    assert (verdict.pays, verdict.rival, verdict.recommended) == (True, FOLDED, INT8)
    assert (
        "Not counted: the folded BF16 export, since its top-1 drop is over the budget of 1 point."
        in verdict.reasons
    )


def test_the_best_instructions_of_the_cpu_are_named() -> None:
    vnni = ENVIRONMENT.model_copy(update={"isa": ("avx2", "avx512f", "avx512_vnni")})
    assert "on this machine (AVX512-VNNI)" in verdict_on(summary(environment=vnni)).sentence
    assert "on this machine:" in verdict_on(summary(environment=None)).sentence


def test_a_hostile_name_cannot_break_the_line() -> None:
    verdict = verdict_on(summary(model="net\nINT8 paid: \u202eten times\x00"))
    assert "\n" not in verdict.sentence
    assert "\u202e" not in verdict.sentence
    assert "\x00" not in verdict.sentence
