from __future__ import annotations

from dataclasses import replace

import pytest
from conditions import QUIET, READY

from edgenext.benchmark.machine import Conditions
from edgenext.benchmark.validity import Asked, lasting, reasons
from edgenext.benchmark.worker import Ready

ASKED = Asked(rounds=30, threads=1, batch=1)
STEADY = [[10.0, 10.1, 9.9]] * 30


def test_a_steady_measurement_on_a_quiet_machine_is_valid() -> None:
    assert reasons(STEADY, READY, ASKED, QUIET) == ()


def test_a_slow_first_inference_in_each_round_is_no_reason() -> None:
    assert reasons([[30.0, 10.0, 10.0]] * 30, READY, ASKED, QUIET) == ()


@pytest.mark.parametrize(
    ("rounds", "said"),
    [
        ([[10.0]] * 20, "20 of 30 rounds were done in the time given: give more seconds"),
        ([[10.0], [13.0]] * 15, "the rounds' medians vary by 13% (limit 10%)"),
        (
            [[10.0]] * 15 + [[10.7]] * 15,
            "the last third of the rounds is 7% slower than the first (limit 5%)",
        ),
        (
            [[10.0]] * 15 + [[9.3]] * 15,
            "the last third of the rounds is 7% faster than the first (limit 5%)",
        ),
    ],
)
def test_samples_that_tell_little(rounds: list[list[float]], said: str) -> None:
    (reason,) = reasons(rounds, READY, ASKED, QUIET)
    assert reason.startswith(said)


def test_too_few_rounds_are_marked_even_when_asked_for() -> None:
    (reason,) = reasons(STEADY[:10], READY, replace(ASKED, rounds=10), QUIET)
    assert reason == "too few rounds to trust (10): ask for at least 30"


def test_a_single_round_is_judged_without_a_spread() -> None:
    (reason,) = reasons([[1.0]], READY, replace(ASKED, rounds=1), QUIET)
    assert reason.startswith("too few rounds to trust (1)")


@pytest.mark.parametrize(
    ("during", "said"),
    [
        (
            Conditions(cores=2, others=0.3),
            "other programs used 0.30 of 2 cores (limit 0.25): close them",
        ),
        (Conditions(cores=2, stolen=0.08), "the host of this virtual machine took 8%"),
        (Conditions(cores=2, throttled=3), "cores were slowed for heat 3 times: cool"),
        (Conditions(cores=2, quota=9), "the container's CPU quota stopped it 9 times: raise"),
        (
            Conditions(cores=2, clocks_mhz=(3100.0, 3000.0, 2200.0)),
            "the clock fell from 3100 to 2200 MHz",
        ),
    ],
)
def test_a_machine_that_was_not_at_rest(during: Conditions, said: str) -> None:
    (reason,) = reasons(STEADY, READY, ASKED, during)
    assert reason.startswith(said)


@pytest.mark.parametrize(
    "during",
    [
        Conditions(cores=2, others=0.2, stolen=0.04),
        Conditions(cores=64, others=5.0),
        Conditions(cores=2, clocks_mhz=(3100.0, 2900.0)),
    ],
)
def test_what_stays_under_the_limits_is_no_reason(during: Conditions) -> None:
    assert reasons(STEADY, READY, ASKED, during) == ()


def test_a_batch_the_artifact_does_not_take() -> None:
    (reason,) = reasons(STEADY, READY, replace(ASKED, batch=4), QUIET)
    assert reason == (
        "batch 4 was asked for, but the artifact takes only 1: export it with --batch dynamic"
    )


def test_a_runtime_that_does_something_else() -> None:
    (reason,) = reasons(STEADY, replace(READY, fallback="it computes in f32"), ASKED, QUIET)
    assert reason == "it computes in f32: measure it where that is not so"


def test_more_threads_than_cores() -> None:
    ready = replace(READY, cpus=(0, 1))
    (reason,) = reasons(STEADY, ready, replace(ASKED, threads=4), QUIET)
    assert reason == "4 threads shared 2 cores: ask for at most 2"


def test_a_warm_up_that_did_not_settle() -> None:
    (reason,) = reasons(STEADY, replace(READY, settled=False, warmup=500), ASKED, QUIET)
    assert reason.startswith("the warm-up had not settled after 500 inferences")


def test_all_reasons_are_given() -> None:
    during = Conditions(cores=2, others=1.0, stolen=0.5)
    assert len(reasons([[10.0], [20.0]] * 3, READY, ASKED, during)) == 4


@pytest.mark.parametrize(
    ("rounds", "ready", "asked"),
    [
        (STEADY[:20], READY, ASKED),
        (STEADY[:10], READY, replace(ASKED, rounds=10)),
        (STEADY, READY, replace(ASKED, batch=4)),
        (STEADY, replace(READY, fallback="it computes in f32"), ASKED),
        (STEADY, replace(READY, cpus=(0,)), replace(ASKED, threads=4)),
    ],
)
def test_what_was_asked_for_stays_a_reason(
    rounds: list[list[float]], ready: Ready, asked: Asked
) -> None:
    assert len(tuple(lasting(rounds, ready, asked, QUIET))) == 1


@pytest.mark.parametrize(
    ("rounds", "ready", "during"),
    [
        ([[10.0], [13.0]] * 15, READY, QUIET),
        ([[10.0]] * 15 + [[10.7]] * 15, READY, QUIET),
        (STEADY, replace(READY, settled=False), QUIET),
        (STEADY, READY, Conditions(cores=2, others=1.0, stolen=0.5)),
    ],
)
def test_noise_may_pass(rounds: list[list[float]], ready: Ready, during: Conditions) -> None:
    assert reasons(rounds, ready, ASKED, during)
    assert not any(lasting(rounds, ready, ASKED, during))
