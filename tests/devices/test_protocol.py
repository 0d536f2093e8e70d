"""What a runner tells, line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pooled_packages import ready, start

from edgenext.devices import protocol
from edgenext.devices.protocol import Event, Round, Unknown, parse_line, record
from edgenext.errors import DeviceError

A, B = "a" * 64, "b" * 64


def burst(artifact: str, number: int, *samples: float) -> dict[str, Any]:
    return {"event": "round", "artifact": artifact, "round": number, "samples_ms": samples}


def events(*told: dict[str, Any]) -> list[Event]:
    return [parse_line(json.dumps(one)) for one in told]


def test_a_whole_run() -> None:
    found = record(
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
    assert (found.job, found.environment.cpu, found.done, found.sha256) == ("j", "A17", True, A)
    assert found.facts is not None
    assert found.facts.model == "iPhone16,1"
    assert found.artifacts[A].rounds == ((1.0, 2.5), (1.0, 2.5))
    assert (found.artifacts[A].logits_done, found.artifacts[A].logits_sha256) == (3, B)
    assert found.artifacts[A].peak_rss_mb == 12.5
    assert [(s.thermal, s.battery, s.charging) for s in found.states] == [(1, 50.0, True)]
    assert [(e.artifact, e.message) for e in found.errors] == [(B, "too hot")]
    mine = found.artifacts[B].ready
    assert mine is not None
    assert mine.units == {"ane": {"linear": 1}, "cpu": {"reduce_mean": 1}}
    as_ready = mine.ready.as_ready()
    assert (as_ready.evidence, as_ready.burst, as_ready.first_ms) == ("device", 2, 2.0)


def test_what_a_newer_runner_tells_is_ignored() -> None:
    newer = start("j") | {"colour": "blue"}
    newer["environment"]["colour"] = newer["facts"]["colour"] = "blue"
    found = record(events(newer, {"event": "weather", "sun": 1}, {"event": "done"}))
    assert (found.environment.cores, found.done) == (6, True)
    assert events({"event": "weather"}) == [Unknown(event="weather")]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "no JSON"),
        ('{"event": "done"', "no JSON"),
        ("[1]", 'no object with a key "event"'),
        ('{"event": 1}', 'no object with a key "event"'),
        (json.dumps(burst(A, 0)), "samples_ms"),
        (json.dumps(burst(A, 0, 1.0)).replace("1.0", "NaN"), "no JSON"),
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
        ("[" * 9000, "no JSON"),
    ],
)
def test_nonsense_is_refused_in_one_short_line(line: str, why: str) -> None:
    with pytest.raises(DeviceError, match=why) as caught:
        parse_line(line)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_run_that_went_on() -> None:
    found = record(
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
    assert found.artifacts[A].rounds == ((1.0,),)
    assert found.artifacts[A].logits_done == 2
    assert (found.errors, found.states) == ((), ())


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ([], "told nothing"),
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
def test_events_that_do_not_follow(told: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(DeviceError, match=why):
        record(events(*told))


def test_every_event_has_a_parser() -> None:
    assert {name: kind.__name__ for name, kind in protocol.KINDS.items()}.items() >= {
        ("start", "Start"),
        ("ready", "ReadyEvent"),
        ("round", "Round"),
        ("state", "State"),
        ("logits", "LogitsDone"),
        ("peak", "Peak"),
        ("error", "Failed"),
        ("done", "Done"),
    }
    (one,) = events(burst(A, 4, 1))
    assert one == Round(artifact=A, round=4, samples_ms=(1.0,))
