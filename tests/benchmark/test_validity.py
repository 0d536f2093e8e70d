from __future__ import annotations

from dataclasses import replace

import pytest
from conditions import LOADED, QUIET

from edgenext.benchmark.machine import MachineConditions
from edgenext.benchmark.validity import LatencyRequest, lasting_reasons, validity_reasons
from edgenext.benchmark.worker import LoadedArtifact

REQUEST = LatencyRequest(rounds=30, threads=1, batch=1)
STEADY = [[10.0, 10.1, 9.9]] * 30


def test_a_steady_measurement_on_a_quiet_machine_is_valid() -> None:
    assert validity_reasons(STEADY, LOADED, REQUEST, QUIET) == ()


def test_a_slow_first_inference_in_each_round_is_no_reason() -> None:
    assert validity_reasons([[30.0, 10.0, 10.0]] * 30, LOADED, REQUEST, QUIET) == ()


@pytest.mark.parametrize(
    ("rounds", "text"),
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
def test_samples_that_tell_little(rounds: list[list[float]], text: str) -> None:
    (reason,) = validity_reasons(rounds, LOADED, REQUEST, QUIET)
    assert reason.startswith(text)


def test_too_few_rounds_are_marked_even_when_latency_request() -> None:
    (reason,) = validity_reasons(STEADY[:10], LOADED, replace(REQUEST, rounds=10), QUIET)
    assert reason == "too few rounds to trust (10): ask for at least 30"


def test_a_single_round_is_judged_without_a_spread() -> None:
    (reason,) = validity_reasons([[1.0]], LOADED, replace(REQUEST, rounds=1), QUIET)
    assert reason.startswith("too few rounds to trust (1)")


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        (
            MachineConditions(cores=2, others=0.3),
            "other programs used 0.30 of 2 cores (limit 0.25): close them",
        ),
        (MachineConditions(cores=2, stolen=0.08), "the host of this virtual machine took 8%"),
        (MachineConditions(cores=2, throttled=3), "cores were slowed for heat 3 times: cool"),
        (
            MachineConditions(cores=2, quota=9),
            "the container's CPU quota stopped it 9 times: raise",
        ),
        (
            MachineConditions(cores=2, clocks_mhz=(3100.0, 3000.0, 2200.0)),
            "the clock fell from 3100 to 2200 MHz",
        ),
    ],
)
def test_a_machine_that_was_not_at_rest(conditions: MachineConditions, text: str) -> None:
    (reason,) = validity_reasons(STEADY, LOADED, REQUEST, conditions)
    assert reason.startswith(text)


@pytest.mark.parametrize(
    "conditions",
    [
        MachineConditions(cores=2, others=0.2, stolen=0.04),
        MachineConditions(cores=64, others=5.0),
        MachineConditions(cores=2, clocks_mhz=(3100.0, 2900.0)),
    ],
)
def test_what_stays_under_the_limits_is_no_reason(conditions: MachineConditions) -> None:
    assert validity_reasons(STEADY, LOADED, REQUEST, conditions) == ()


def test_a_batch_the_artifact_does_not_take() -> None:
    (reason,) = validity_reasons(STEADY, LOADED, replace(REQUEST, batch=4), QUIET)
    assert reason == (
        "batch 4 was asked for, but the artifact takes only 1: export it with --batch dynamic"
    )


def test_a_runtime_that_does_something_else() -> None:
    (reason,) = validity_reasons(
        STEADY, replace(LOADED, fallback="it computes in f32"), REQUEST, QUIET
    )
    assert reason == "it computes in f32: measure it where that is not so"


def test_more_threads_than_cores() -> None:
    loaded = replace(LOADED, cpus=(0, 1))
    (reason,) = validity_reasons(STEADY, loaded, replace(REQUEST, threads=4), QUIET)
    assert reason == "4 threads shared 2 cores: ask for at most 2"


def test_a_warm_up_that_did_not_settle() -> None:
    (reason,) = validity_reasons(STEADY, replace(LOADED, settled=False, warmup=500), REQUEST, QUIET)
    assert reason.startswith("the warm-up had not settled after 500 inferences")


def test_all_reasons_are_given() -> None:
    conditions = MachineConditions(cores=2, others=1.0, stolen=0.5)
    assert len(validity_reasons([[10.0], [20.0]] * 3, LOADED, REQUEST, conditions)) == 4


@pytest.mark.parametrize(
    ("rounds", "loaded", "latency_request"),
    [
        (STEADY[:20], LOADED, REQUEST),
        (STEADY[:10], LOADED, replace(REQUEST, rounds=10)),
        (STEADY, LOADED, replace(REQUEST, batch=4)),
        (STEADY, replace(LOADED, fallback="it computes in f32"), REQUEST),
        (STEADY, replace(LOADED, cpus=(0,)), replace(REQUEST, threads=4)),
    ],
)
def test_what_was_latency_request_stays_a_reason(
    rounds: list[list[float]], loaded: LoadedArtifact, latency_request: LatencyRequest
) -> None:
    assert len(tuple(lasting_reasons(rounds, loaded, latency_request, QUIET))) == 1


@pytest.mark.parametrize(
    ("rounds", "loaded", "conditions"),
    [
        ([[10.0], [13.0]] * 15, LOADED, QUIET),
        ([[10.0]] * 15 + [[10.7]] * 15, LOADED, QUIET),
        (STEADY, replace(LOADED, settled=False), QUIET),
        (STEADY, LOADED, MachineConditions(cores=2, others=1.0, stolen=0.5)),
    ],
)
def test_noise_may_pass(
    rounds: list[list[float]], loaded: LoadedArtifact, conditions: MachineConditions
) -> None:
    assert validity_reasons(rounds, loaded, REQUEST, conditions)
    assert not any(lasting_reasons(rounds, loaded, REQUEST, conditions))
