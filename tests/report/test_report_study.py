from __future__ import annotations

import numpy as np
import pytest
from report_runs import FOLDED, INT8, PLAIN, exported, sha, summary

from edgenext.errors import InputError
from edgenext.report.speed import Speed, by_round, fastest, round_medians, speed
from edgenext.report.study import Entry, Study, study_of
from edgenext.schema import BenchReport, EvalReport, EvalResult, RunSummary


def entry(study: Study, name: str) -> Entry:
    return next(e for e in study.entries if e.name == name)


def test_parts_are_joined_by_name_with_the_base_first() -> None:
    run = summary()
    study = study_of(run.model_copy(update={"artifacts": run.artifacts[::-1]}))
    assert [e.label for e in study.entries] == ["FP32 plain", "w8a8-static", "FP32 folded"]
    assert study.base is study.entries[0]
    assert [e.name for e in study.floats] == [PLAIN, FOLDED]
    assert [e.name for e in study.int8] == [INT8]
    for e in study.entries:
        assert e.artifact is not None
        assert e.scores is not None
        assert e.bench is not None
        assert {e.artifact.sha256, e.scores.sha256, e.bench.sha256} == {sha(e.name)}


def test_the_network_itself_is_not_a_float_file() -> None:
    run = summary()
    row = EvalResult(artifact="pytorch", top1=30.94, top5=55.0, loss=3.1, n=5000)
    study = study_of(
        run.model_copy(
            update={"eval": run.eval.model_copy(update={"results": (row, *run.eval.results)})}
        )
    )
    assert study.entries[-1].name == "pytorch"
    assert study.entries[-1].kind == "network"
    assert len(study.floats) == 2


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        *((name, "float") for name in ("fp32", "fp16", "bf16")),
        *((name, "int8") for name in ("w8a8-static", "w8-weight-only", "w4-palettized")),
        ("a scheme of another version", "int8"),
        ("", "network"),
    ],
)
def test_a_float_scheme_is_fp32_or_a_cast(scheme: str, kind: str) -> None:
    run = summary()
    parts = {
        "artifacts": (
            *run.artifacts[:2],
            run.artifacts[2].model_copy(update={"scheme": scheme}),
        ),
        "eval": EvalReport(results=run.eval.results[:2]),
        "compare": run.compare.model_copy(update={"others": run.compare.others[:1]}),
        "bench": BenchReport(results=run.bench.results[:2], ratios=()),
    }
    assert entry(study_of(run.model_copy(update=parts)), INT8).kind == kind


def test_files_of_one_scheme_and_form_are_told_apart_by_name() -> None:
    run = summary()
    study = study_of(run.model_copy(update={"artifacts": (*run.artifacts, exported("second"))}))
    labels = [e.label for e in study.int8]
    assert labels == [INT8, "second"]


def test_one_name_for_two_files_is_refused() -> None:
    run = summary()
    first, *rest = run.bench.results
    odd = first.model_copy(update={"sha256": sha("another file")})
    bench = run.bench.model_copy(update={"results": (odd, *rest)})
    with pytest.raises(InputError, match=f"different files called {PLAIN}"):
        study_of(run.model_copy(update={"bench": bench}))


def with_ratios(run: RunSummary, *keep: tuple[str, str]) -> Study:
    ratios = tuple(r for r in run.bench.ratios if (r.a, r.b) in keep)
    return study_of(
        run.model_copy(update={"bench": run.bench.model_copy(update={"ratios": ratios})})
    )


def between(study: Study, of: str, over: str) -> Speed:
    measured = speed(entry(study, of), entry(study, over), study)
    assert measured is not None
    return measured


def test_speed_is_the_others_latency_over_its_own() -> None:
    fast = between(study_of(summary()), INT8, PLAIN)
    assert fast.times == pytest.approx(12.8 / 8.26, rel=0.02)
    assert fast.low <= fast.times <= fast.high
    assert fast.valid


def test_samples_give_the_ratio_that_the_run_would_have_given() -> None:
    run = summary()
    declared = between(study_of(run), INT8, PLAIN)
    assert between(with_ratios(run), INT8, PLAIN) == declared


def test_an_inverse_ratio_is_turned_round() -> None:
    run = summary()
    bare = [r.model_copy(update={"samples_ms": (), "rounds": ()}) for r in run.bench.results]
    bench = BenchReport(results=tuple(bare), ratios=run.bench.ratios)
    study = with_ratios(run.model_copy(update={"bench": bench}), (INT8, PLAIN))
    turned, declared = between(study, INT8, PLAIN), between(study_of(run), INT8, PLAIN)
    assert turned.times == pytest.approx(declared.times, rel=1e-3)
    assert (turned.low, turned.high) == pytest.approx((declared.low, declared.high), rel=1e-3)
    nothing = with_ratios(run.model_copy(update={"bench": bench}))
    assert speed(entry(nothing, INT8), entry(nothing, PLAIN), nothing) is None


def test_the_interval_against_the_folded_file_uses_pairs_of_rounds() -> None:
    """Luck that both files of a round share cancels: the interval is narrower than either's."""
    study = study_of(summary())
    pair = between(study, INT8, FOLDED)
    bench = entry(study, INT8).bench
    assert bench is not None
    medians = round_medians(bench)
    assert medians is not None
    assert pair.high - pair.low < float(np.ptp(medians)) / float(np.median(medians))


def test_the_fastest_is_taken_of_those_that_are_valid() -> None:
    busy = study_of(summary(reasons={FOLDED: ("busy: wait",)}))
    fast, all_valid = fastest(busy.floats), fastest(study_of(summary()).floats)
    assert fast is not None
    assert all_valid is not None
    assert (fast.name, all_valid.name) == (PLAIN, FOLDED)
    assert fastest(()) is None


def test_rounds_that_do_not_fit_the_samples_are_not_made_up() -> None:
    result = summary().bench.results[0]
    split = by_round(result)
    assert split is not None
    assert [len(r) for r in split] == list(result.rounds)
    assert by_round(result.model_copy(update={"rounds": (3, 4)})) is None
    assert by_round(result.model_copy(update={"rounds": (), "samples_ms": ()})) is None
