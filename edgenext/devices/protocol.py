"""What a runner on a device is asked, and what it answers: one JSON object a line.

A runner reads one `edgenext.devices.job.Job` and tells one event a line. Keys and events that are
not known here are ignored, so that an older edgenext reads a newer runner; a wrong type is an
error. Of a run that was interrupted and goes on, the lines follow each other: a second `start`
begins an attempt, and a second `ready` of an artifact takes back the rounds that it had.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import from_json

from edgenext.benchmark.machine import Conditions
from edgenext.benchmark.worker import Ready
from edgenext.devices.job import PROTOCOL, Count, Message, Milliseconds, Sha256
from edgenext.errors import DeviceError
from edgenext.schema import DeviceFacts, Environment, Evidence, Record

SHOWN = 80
"""Characters of a line that is quoted in an error."""
MAX_LINE = 1 << 20
"""Characters of the longest line that is read: 400 samples take 8,000."""


def _known(kind: type[Record]) -> BeforeValidator:
    """Reads an object of `kind`, which forbids keys that it does not know, without such keys."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        given = {key: value[key] for key in kind.model_fields if key in value}
        try:
            return kind.model_validate_json(json.dumps(given), strict=True)
        except ValidationError as e:
            raise ValueError(first_error(e)) from e

    return BeforeValidator(read)


class Start(Message):
    """A runner begins, or goes on with what was interrupted."""

    event: Literal["start"] = "start"
    protocol: int
    job: str
    environment: Annotated[Environment, _known(Environment)]
    facts: Annotated[DeviceFacts, _known(DeviceFacts)] | None = None


class Warm(Message):
    """An artifact that is loaded and warm; the fields of `Ready`, evidence apart."""

    runtime: str
    batch: Annotated[int, Field(gt=0)]
    burst: Annotated[int, Field(gt=0)]
    cpus: tuple[int, ...] = ()
    load_ms: Annotated[float, Field(ge=0)]
    first_ms: Milliseconds
    warmup: Count
    settled: bool

    def as_ready(self, evidence: Evidence = "device") -> Ready:
        """The same as the benchmark has it."""
        return Ready(evidence=evidence, **self.model_dump())


class ReadyEvent(Message):
    """An artifact is loaded and warm.

    `unit` is where most of it really runs, empty where nobody can tell; `units` counts the
    operators by unit and type; `partitions` is how many pieces the accelerator took it in.
    """

    event: Literal["ready"] = "ready"
    artifact: Sha256
    ready: Warm
    unit: str = ""
    units: dict[str, dict[str, Count]] = Field(default_factory=dict)
    partitions: Count | None = None


class Round(Message):
    """One burst of one artifact: wall times in ms. Rounds count from 0, `at_s` from the first."""

    event: Literal["round"] = "round"
    artifact: Sha256
    round: Count
    at_s: Annotated[float, Field(ge=0)] | None = None
    samples_ms: Annotated[tuple[Milliseconds, ...], Field(min_length=1)]


class State(Message):
    """The device after a round.

    `thermal` is 0 while it is cool, to 3 on Apple's systems and 6 on Android's; `battery` is
    in percent. What cannot be read is None.
    """

    event: Literal["state"] = "state"
    thermal: Annotated[int, Field(ge=0, le=6)] | None = None
    battery: Annotated[float, Field(ge=0, le=100)] | None = None
    charging: bool | None = None


class During(Message):
    """The machine during all rounds, as `edgenext.benchmark.machine.Conditions` has it."""

    event: Literal["conditions"] = "conditions"
    cores: Annotated[int, Field(gt=0)]
    others: Annotated[float, Field(ge=0)] = 0.0
    stolen: Annotated[float, Field(ge=0)] = 0.0
    clocks_mhz: tuple[float, ...] = ()

    def as_conditions(self) -> Conditions:
        """The same as the benchmark has it."""
        return Conditions(self.cores, self.others, self.stolen, clocks_mhz=self.clocks_mhz)


class Load(Message):
    """An artifact ran without a pause while the sensors were read."""

    event: Literal["load"] = "load"
    artifact: Sha256
    seconds: Annotated[float, Field(gt=0)]
    inferences: Count


class LogitsDone(Message):
    """Logits of so many images are written; with the last, `sha256` may be the file's."""

    event: Literal["logits"] = "logits"
    artifact: Sha256
    done: Count
    total: Count
    sha256: Sha256 | None = None


class Peak(Message):
    """Peak memory of an artifact's process less the empty runtime's, in MiB."""

    event: Literal["peak"] = "peak"
    artifact: Sha256
    peak_rss_mb: Annotated[float, Field(ge=0)]


class Failed(Message):
    """What went wrong, with an artifact or altogether."""

    event: Literal["error"] = "error"
    artifact: Sha256 | None = None
    message: str


class Done(Message):
    """The runner has done all it was asked; `sha256` may be that of all lines before."""

    event: Literal["done"] = "done"
    sha256: Sha256 | None = None


class Unknown(Message):
    """An event of a newer runner."""

    event: str


Event = (
    Start | ReadyEvent | Round | State | During | Load | LogitsDone | Peak | Failed | Done | Unknown
)
"""Told apart by `event`."""

KINDS: dict[str, type[Message]] = {
    kind.model_fields["event"].default: kind
    for kind in (Start, ReadyEvent, Round, State, During, Load, LogitsDone, Peak, Failed, Done)
}


def parse_line(text: str) -> Event:
    """The event that one line tells.

    Raises:
        DeviceError: it is no JSON object of an event, or a value has the wrong type; the line is
            quoted, shortened.
    """
    if len(text) > MAX_LINE:
        raise _nonsense(text, f"it is {len(text)} characters long")
    try:
        given = from_json(text, allow_inf_nan=False)
    except ValueError as e:
        raise _nonsense(text, f"no JSON: {e}") from e
    name = given.get("event") if isinstance(given, dict) else None
    if not isinstance(name, str):
        raise _nonsense(text, 'no object with a key "event"')
    kind = KINDS.get(name)
    if kind is None:
        return Unknown(event=name)
    try:
        return kind.model_validate_json(text, strict=True)  # type: ignore[return-value]
    except ValidationError as e:
        raise _nonsense(text, first_error(e)) from e


def first_error(error: ValidationError) -> str:
    """The first of pydantic's complaints, with the field it is about."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]


def _nonsense(text: str, why: str) -> DeviceError:
    line = " ".join(text.split())
    shown = line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
    return DeviceError(
        f"the runner's answer {shown!r} cannot be understood ({why})",
        "It was cut off or changed, or something else writes there: measure again",
    )


@dataclass(frozen=True)
class Measured:
    """What one artifact came to. `logits_done` of `logits_total` images have their logits."""

    ready: ReadyEvent | None = None
    rounds: tuple[tuple[float, ...], ...] = ()
    at_s: tuple[float, ...] = ()
    """When each round ended, in seconds from the first; empty where the runner does not say."""
    load: Load | None = None
    peak_rss_mb: float | None = None
    logits_done: int = 0
    logits_total: int = 0
    logits_sha256: str | None = None
    logits: Path | None = None
    """The file, N×K float32 little-endian, once somebody has fetched and checked it."""


@dataclass(frozen=True)
class Recorded:
    """All that a runner told, in the last state of each thing; `artifacts` by sha256."""

    job: str
    environment: Environment
    facts: DeviceFacts | None = None
    artifacts: dict[str, Measured] = field(default_factory=dict)
    states: tuple[State, ...] = ()
    during: During | None = None
    errors: tuple[Failed, ...] = ()
    done: bool = False
    sha256: str | None = None
    """What the runner says all lines before its last have."""


def record(events: Iterable[Event]) -> Recorded:
    """What a runner's events come to, in the order told.

    Raises:
        DeviceError: the events do not follow from each other: no `start`, another job, machine or
            protocol after a restart, a round that is missing, or anything after `done`.
    """
    so_far: Recorded | None = None
    for event in events:
        if isinstance(event, Start):
            so_far = _started(so_far, event)
        elif isinstance(event, Unknown):
            continue
        elif so_far is None:
            raise _disorder(f"tells {event.event!r} before 'start'")
        elif so_far.done:
            raise _disorder(f"tells {event.event!r} after 'done'")
        else:
            so_far = _after(so_far, event)
    if so_far is None:
        raise _disorder("told nothing")
    return so_far


def _started(before: Recorded | None, start: Start) -> Recorded:
    if start.protocol != PROTOCOL:
        raise DeviceError(
            f"the runner speaks protocol {start.protocol}, this edgenext {PROTOCOL}",
            "Update the older of the two and measure again",
        )
    if before is None:
        return Recorded(start.job, start.environment, start.facts)
    if before.done:
        raise _disorder("tells 'start' after 'done'")
    if (before.job, before.environment) != (start.job, start.environment):
        raise _disorder("went on with what another job or machine began")
    return replace(before, errors=(), facts=start.facts or before.facts)


def _after(so_far: Recorded, event: Event) -> Recorded:
    if isinstance(event, State):
        return replace(so_far, states=(*so_far.states, event))
    if isinstance(event, During):
        return replace(so_far, during=event)
    if isinstance(event, Failed):
        return replace(so_far, errors=(*so_far.errors, event))
    if isinstance(event, Done):
        return replace(so_far, done=True, sha256=event.sha256)
    if isinstance(event, ReadyEvent | Round | Load | Peak | LogitsDone):
        mine = _measured(so_far.artifacts.get(event.artifact, Measured()), event)
        if isinstance(event, ReadyEvent) and event.artifact in so_far.artifacts:
            # All is measured again: how the device was before says nothing any more.
            so_far = replace(so_far, states=())
        return replace(so_far, artifacts=so_far.artifacts | {event.artifact: mine})
    return so_far


def _measured(mine: Measured, event: ReadyEvent | Round | Load | Peak | LogitsDone) -> Measured:
    if isinstance(event, ReadyEvent):
        return replace(mine, ready=event, rounds=(), at_s=())
    if isinstance(event, Load):
        return replace(mine, load=event)
    if isinstance(event, Peak):
        return replace(mine, peak_rss_mb=event.peak_rss_mb)
    if isinstance(event, LogitsDone):
        if event.done > event.total:
            raise _disorder(f"has logits of {event.done} of {event.total} images")
        return replace(
            mine,
            logits_done=event.done,
            logits_total=event.total,
            logits_sha256=event.sha256,
        )
    if mine.ready is None or event.round != len(mine.rounds):
        raise _disorder(f"tells round {event.round} after {len(mine.rounds)} rounds")
    at_s = mine.at_s if event.at_s is None else (*mine.at_s, event.at_s)
    return replace(mine, rounds=(*mine.rounds, event.samples_ms), at_s=at_s)


def _disorder(what: str) -> DeviceError:
    return DeviceError(f"the runner {what}", "Lines are missing or mixed: measure again")
