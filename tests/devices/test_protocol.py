"""The events of a runner, line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from devices.pooled_packages import ready, start

from edgenext.devices import protocol
from edgenext.devices.protocol import Event, RoundEvent, UnknownEvent, parse_line, record_events
from edgenext.errors import DeviceError

A, B = "a" * 64, "b" * 64


def burst(artifact: str, number: int, *samples: float) -> dict[str, Any]:
    return {"event": "round", "artifact": artifact, "round": number, "samples_ms": samples}


def events(*values: dict[str, Any]) -> list[Event]:
    return [parse_line(json.dumps(value)) for value in values]


def test_a_complete_run() -> None:
    record = record_events(
        events(
            start("j"),
            ready(A),
            ready(B),
            *(burst(sha256, n, 1, 2.5) for n in range(2) for sha256 in (A, B)),
            {"event": "state", "thermal": 1, "battery": 50, "charging": True},
            {"event": "peak", "artifact": A, "peak_rss_mb": 12.5},
            {"event": "logits", "artifact": A, "done": 3, "total": 3, "sha256": B},
            {"event": "error", "artifact": B, "message": "too hot"},
            {"event": "done", "sha256": A},
        )
    )
    assert (record.job, record.environment.cpu, record.done, record.sha256) == ("j", "A17", True, A)
    assert record.facts is not None
    assert record.facts.model == "iPhone16,1"
    assert record.artifacts[A].rounds == ((1.0, 2.5), (1.0, 2.5))
    assert (record.artifacts[A].logits_done, record.artifacts[A].logits_sha256) == (3, B)
    assert record.artifacts[A].peak_rss_mb == 12.5
    assert [(s.thermal, s.battery, s.charging) for s in record.states] == [(1, 50.0, True)]
    assert [(e.artifact, e.message) for e in record.errors] == [(B, "too hot")]
    ready_b = record.artifacts[B].ready
    assert ready_b is not None
    assert ready_b.units == {"ane": {"linear": 1}, "cpu": {"reduce_mean": 1}}
    loaded = ready_b.ready.as_loaded()
    assert (loaded.evidence, loaded.burst, loaded.first_ms) == ("device", 2, 2.0)


def test_the_second_process_of_the_base_is_apart() -> None:
    second = {"second": True}
    lines = (
        start("j"),
        ready(A),
        ready(A) | second,
        *(burst(A, n, 1.0) for n in range(2)),
        *(burst(A, n, 1.5) | second for n in range(2)),
    )
    record = record_events(events(*lines))
    assert record.artifacts.keys() == {A} and record.artifacts[A].rounds == ((1.0,), (1.0,))
    assert record.second and record.second.ready
    assert record.second.rounds == ((1.5,), (1.5,))
    again = record_events(events(*lines, start("j"), ready(A) | second, burst(A, 0, 2.0) | second))
    assert again.second and again.second.rounds == ((2.0,),), "measured anew after a restart"
    with pytest.raises(DeviceError, match="round 1 after 0 rounds"):
        record_events(events(start("j"), ready(A) | second, burst(A, 1, 1.0) | second))


def test_unknown_keys_and_events_of_a_newer_runner_are_ignored() -> None:
    newer = start("j") | {"colour": "blue"}
    newer["environment"]["colour"] = newer["facts"]["colour"] = "blue"
    record = record_events(events(newer, {"event": "weather", "sun": 1}, {"event": "done"}))
    assert (record.environment.cores, record.done) == (6, True)
    assert events({"event": "weather"}) == [UnknownEvent(event="weather")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "not JSON"),
        ('{"event": "done"', "not JSON"),
        ("[1]", 'not an object with a key "event"'),
        ('{"event": 1}', 'not an object with a key "event"'),
        (json.dumps(burst(A, 0)), "samples_ms"),
        (json.dumps(burst(A, 0, 1.0)).replace("1.0", "NaN"), "not JSON"),
        (json.dumps(burst(A, 0, 1.0)).replace("1.0", "1e999"), "finite"),
        (json.dumps(burst(A, 0, 0.0)), "greater than 0"),
        (json.dumps(burst(A, 0, 1) | {"samples_ms": "1"}), "samples_ms"),
        (json.dumps(burst(A, 0, 1) | {"samples_ms": ["1"]}), r"samples_ms\.0"),
        (json.dumps(burst(A[1:], 0, 1)), "artifact"),
        (json.dumps(burst("../" + A[3:], 0, 1)), "artifact"),
        (json.dumps(burst(A, -1, 1)), "round"),
        (json.dumps(burst(A, True, 1)), "round"),
        ('{"event": "state", "thermal": 9}', "thermal"),
        ('{"event": "error"}', "message"),
        (json.dumps(start("j") | {"environment": {"cpu": "x"}}), "isa"),
        (json.dumps(start("j")).replace('"cores": 6', '"cores": "6"'), "cores"),
        (json.dumps({"event": "error", "message": "x" * protocol.MAX_LINE}), "characters long"),
        ("[" * 9000, "not JSON"),
    ],
)
def test_an_invalid_line_is_refused_in_one_short_message(line: str, reason: str) -> None:
    with pytest.raises(DeviceError, match=reason) as caught:
        parse_line(line)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_run_that_was_continued() -> None:
    record = record_events(
        events(
            start("j"),
            ready(A),
            burst(A, 0, 9),
            {"event": "state", "thermal": 3},
            {"event": "error", "artifact": A, "message": "stopped"},
            start("j"),
            ready(A),
            burst(A, 0, 1),
            {"event": "logits", "artifact": A, "done": 1, "total": 2},
            start("j"),
            {"event": "logits", "artifact": A, "done": 2, "total": 2},
            {"event": "done"},
        )
    )
    assert record.artifacts[A].rounds == ((1.0,),)
    assert record.artifacts[A].logits_done == 2
    assert (record.errors, record.states) == ((), ())


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "reported no event"),
        ([burst(A, 0, 1)], "before 'start'"),
        ([start("j"), burst(A, 0, 1)], "round 0 after 0 rounds"),
        ([start("j"), ready(A), burst(A, 1, 1)], "round 1 after 0 rounds"),
        ([start("j"), {"event": "done"}, ready(A)], "'ready' after 'done'"),
        ([start("j"), {"event": "done"}, start("j")], "'start' after 'done'"),
        ([start("j"), start("k")], "another job or machine"),
        (
            [start("j"), {"event": "logits", "artifact": A, "done": 3, "total": 2}],
            "3 of 2 images",
        ),
        ([start("j") | {"protocol": 2}], "protocol 2, this edgenext 1"),
    ],
)
def test_events_out_of_order(values: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(DeviceError, match=reason):
        record_events(events(*values))


def test_every_event_has_a_parser() -> None:
    assert {name: kind.__name__ for name, kind in protocol.EVENT_TYPES.items()}.items() >= {
        ("start", "StartEvent"),
        ("ready", "ReadyEvent"),
        ("round", "RoundEvent"),
        ("state", "StateEvent"),
        ("logits", "LogitsEvent"),
        ("peak", "PeakEvent"),
        ("error", "ErrorEvent"),
        ("done", "DoneEvent"),
        ("conditions", "ConditionsEvent"),
        ("load", "LoadEvent"),
    }
    (one,) = events(burst(A, 4, 1))
    assert one == RoundEvent(artifact=A, round=4, samples_ms=(1.0,))
