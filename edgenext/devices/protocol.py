"""The events of a runner on a device: one JSON object a line.

A runner reads one `edgenext.devices.job.DeviceJob` and writes one event a line. Unknown keys and
events are ignored, so that an older edgenext reads a newer runner; a wrong type is an error. A run
that was interrupted and continued appends to its lines: a second `start` begins another attempt,
and a second `ready` of an artifact discards the rounds before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import from_json

from edgenext.benchmark.machine import MachineConditions
from edgenext.benchmark.worker import LoadedArtifact
from edgenext.devices.job import PROTOCOL, Count, Message, Milliseconds, Sha256
from edgenext.errors import DeviceError
from edgenext.schema import DeviceFacts, Environment, Evidence, Record

SHOWN = 80
"""Characters of a line that an error quotes."""
MAX_LINE = 1 << 20
"""Characters of the longest line that is read: 400 samples take 8,000."""


def _without_unknown_keys(kind: type[Record]) -> BeforeValidator:
    """A validator of `kind`, which forbids unknown keys, that leaves them out."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        fields = {key: value[key] for key in kind.model_fields if key in value}
        try:
            return kind.model_validate_json(json.dumps(fields), strict=True)
        except ValidationError as e:
            raise ValueError(first_error(e)) from e

    return BeforeValidator(read)


class StartEvent(Message):
    """A runner begins, or continues an interrupted run."""

    event: Literal["start"] = "start"
    protocol: int
    job: str
    environment: Annotated[Environment, _without_unknown_keys(Environment)]
    facts: Annotated[DeviceFacts, _without_unknown_keys(DeviceFacts)] | None = None


class ReadyFacts(Message):
    """An artifact that is loaded and warm: the fields of `LoadedArtifact` without the evidence."""

    runtime: str
    batch: Annotated[int, Field(gt=0)]
    burst: Annotated[int, Field(gt=0)]
    cpus: tuple[int, ...] = ()
    load_ms: Annotated[float, Field(ge=0)]
    first_ms: Milliseconds
    warmup: Count
    settled: bool

    def as_loaded(self, evidence: Evidence = "device") -> LoadedArtifact:
        """The same as a value of the benchmark."""
        return LoadedArtifact(evidence=evidence, **self.model_dump())


class ReadyEvent(Message):
    """An artifact is loaded and warm.

    `unit` is the compute unit that most of it runs on, empty where unknown; `units` counts the
    operators by unit and type; `partitions` is the number of parts the accelerator runs. `second`
    marks the second process of the first artifact, of which there are no other events but rounds.
    """

    event: Literal["ready"] = "ready"
    artifact: Sha256
    ready: ReadyFacts
    unit: str = ""
    units: dict[str, dict[str, Count]] = Field(default_factory=dict)
    partitions: Count | None = None
    second: bool = False


class RoundEvent(Message):
    """One burst of one artifact: wall times in ms. Rounds count from 0, `at_s` from the first.

    `second` as in `ReadyEvent`.
    """

    event: Literal["round"] = "round"
    artifact: Sha256
    round: Count
    at_s: Annotated[float, Field(ge=0)] | None = None
    samples_ms: Annotated[tuple[Milliseconds, ...], Field(min_length=1)]
    second: bool = False


class StateEvent(Message):
    """The device after a round; None where a value cannot be read.

    `thermal` is 0 while it is cool, up to 3 on Apple's systems and 6 on Android's; `battery` is
    in percent.
    """

    event: Literal["state"] = "state"
    thermal: Annotated[int, Field(ge=0, le=6)] | None = None
    battery: Annotated[float, Field(ge=0, le=100)] | None = None
    charging: bool | None = None


class ConditionsEvent(Message):
    """The machine during all rounds: fields of `edgenext.benchmark.machine.MachineConditions`."""

    event: Literal["conditions"] = "conditions"
    cores: Annotated[int, Field(gt=0)]
    others: Annotated[float, Field(ge=0)] = 0.0
    stolen: Annotated[float, Field(ge=0)] = 0.0
    clocks_mhz: tuple[float, ...] = ()

    def as_conditions(self) -> MachineConditions:
        """The same as a value of the benchmark."""
        return MachineConditions(self.cores, self.others, self.stolen, clocks_mhz=self.clocks_mhz)


class LoadEvent(Message):
    """An artifact ran without a pause while the sensors were read."""

    event: Literal["load"] = "load"
    artifact: Sha256
    seconds: Annotated[float, Field(gt=0)]
    inferences: Count


class LogitsEvent(Message):
    """Logits of `done` images are written; the last event may have the file's `sha256`."""

    event: Literal["logits"] = "logits"
    artifact: Sha256
    done: Count
    total: Count
    sha256: Sha256 | None = None


class PeakEvent(Message):
    """Peak memory of an artifact's process less the empty runtime's, in MiB."""

    event: Literal["peak"] = "peak"
    artifact: Sha256
    peak_rss_mb: Annotated[float, Field(ge=0)]


class ErrorEvent(Message):
    """An error, of one artifact or of the run."""

    event: Literal["error"] = "error"
    artifact: Sha256 | None = None
    message: str


class DoneEvent(Message):
    """The job is done; `sha256` may be the hash of all lines before this one."""

    event: Literal["done"] = "done"
    sha256: Sha256 | None = None


class UnknownEvent(Message):
    """An event of a newer runner."""

    event: str


ArtifactEvent = ReadyEvent | RoundEvent | LoadEvent | PeakEvent | LogitsEvent
"""An event of one artifact."""
Event = (
    ArtifactEvent
    | StartEvent
    | StateEvent
    | ConditionsEvent
    | ErrorEvent
    | DoneEvent
    | UnknownEvent
)
"""Distinguished by the key `event`."""

EVENT_TYPES: dict[str, type[Message]] = {
    kind.model_fields["event"].default: kind for kind in get_args(Event) if kind != UnknownEvent
}
"""The type of each event, by its name in JSON."""


def parse_line(text: str) -> Event:
    """The event of one line.

    Raises:
        DeviceError: the line is not a JSON object of an event, or a value has the wrong type; the
            message quotes the line, shortened.
    """
    if len(text) > MAX_LINE:
        raise _invalid_line(text, f"it is {len(text)} characters long")
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError as e:
        raise _invalid_line(text, f"not JSON: {e}") from e
    name = value.get("event") if isinstance(value, dict) else None
    if not isinstance(name, str):
        raise _invalid_line(text, 'not an object with a key "event"')
    kind = EVENT_TYPES.get(name)
    if kind is None:
        return UnknownEvent(event=name)
    try:
        return kind.model_validate_json(text, strict=True)  # type: ignore[return-value]
    except ValidationError as e:
        raise _invalid_line(text, first_error(e)) from e


def first_error(error: ValidationError) -> str:
    """The first of pydantic's errors, with the field it is about."""
    first = error.errors()[0]
    location = ".".join(map(str, first["loc"]))
    return f"{location}: {first['msg']}" if location else first["msg"]


def _invalid_line(text: str, reason: str) -> DeviceError:
    line = " ".join(text.split())
    shown = line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
    return DeviceError(
        f"the runner's line {shown!r} is invalid ({reason})",
        "It was cut off or changed, or another program writes to the file: measure again",
    )


@dataclass(frozen=True)
class ArtifactMeasurements:
    """What a runner measured of one artifact; `logits_done` of `logits_total` images are done."""

    ready: ReadyEvent | None = None
    rounds: tuple[tuple[float, ...], ...] = ()
    at_s: tuple[float, ...] = ()
    """The end of each round, in seconds from the first; empty if the runner does not report it."""
    load: LoadEvent | None = None
    peak_rss_mb: float | None = None
    logits_done: int = 0
    logits_total: int = 0
    logits_sha256: str | None = None
    logits: Path | None = None
    """The file, N×K float32 little-endian, once it is fetched and checked."""


@dataclass(frozen=True)
class RunnerRecord:
    """All measurements of a runner, in their latest state; `artifacts` by sha256."""

    job: str
    environment: Environment
    facts: DeviceFacts | None = None
    artifacts: dict[str, ArtifactMeasurements] = field(default_factory=dict)
    second: ArtifactMeasurements | None = None
    """Of the second process of the first artifact, if there was one."""
    states: tuple[StateEvent, ...] = ()
    conditions: ConditionsEvent | None = None
    errors: tuple[ErrorEvent, ...] = ()
    done: bool = False
    sha256: str | None = None
    """The hash of all lines before the last, as the runner reports it."""


def record_events(events: Iterable[Event]) -> RunnerRecord:
    """The record of a runner's events, in their order.

    Raises:
        DeviceError: the events are out of order: no `start`, another job, machine or protocol after
            a restart, a missing round, or anything after `done`.
    """
    record: RunnerRecord | None = None
    for event in events:
        if isinstance(event, StartEvent):
            record = _started(record, event)
        elif isinstance(event, UnknownEvent):
            continue
        elif record is None:
            raise _out_of_order(f"{event.event!r} before 'start'")
        elif record.done:
            raise _out_of_order(f"{event.event!r} after 'done'")
        else:
            record = _updated(record, event)
    if record is None:
        raise DeviceError("the runner reported no event", "Measure again")
    return record


def _started(record: RunnerRecord | None, start: StartEvent) -> RunnerRecord:
    if start.protocol != PROTOCOL:
        raise DeviceError(
            f"the runner has protocol {start.protocol}, this edgenext {PROTOCOL}",
            "Update the older of the two and measure again",
        )
    if record is None:
        return RunnerRecord(start.job, start.environment, start.facts)
    if record.done:
        raise _out_of_order("'start' after 'done'")
    if (record.job, record.environment) != (start.job, start.environment):
        raise _out_of_order("the events of another job or machine")
    return replace(record, errors=(), facts=start.facts or record.facts)


def _updated(record: RunnerRecord, event: Event) -> RunnerRecord:
    if isinstance(event, StateEvent):
        return replace(record, states=(*record.states, event))
    if isinstance(event, ConditionsEvent):
        return replace(record, conditions=event)
    if isinstance(event, ErrorEvent):
        return replace(record, errors=(*record.errors, event))
    if isinstance(event, DoneEvent):
        return replace(record, done=True, sha256=event.sha256)
    if isinstance(event, ReadyEvent | RoundEvent) and event.second:
        return replace(record, second=_with_event(record.second or ArtifactMeasurements(), event))
    if isinstance(event, ArtifactEvent):
        former = record.artifacts.get(event.artifact, ArtifactMeasurements())
        artifacts = record.artifacts | {event.artifact: _with_event(former, event)}
        if isinstance(event, ReadyEvent) and event.artifact in record.artifacts:
            # All is measured again: earlier states of the device no longer matter.
            record = replace(record, states=())
        return replace(record, artifacts=artifacts)
    return record


def _with_event(measurements: ArtifactMeasurements, event: ArtifactEvent) -> ArtifactMeasurements:
    if isinstance(event, ReadyEvent):
        return replace(measurements, ready=event, rounds=(), at_s=())
    if isinstance(event, LoadEvent):
        return replace(measurements, load=event)
    if isinstance(event, PeakEvent):
        return replace(measurements, peak_rss_mb=event.peak_rss_mb)
    if isinstance(event, LogitsEvent):
        if event.done > event.total:
            raise _out_of_order(f"logits of {event.done} of {event.total} images")
        return replace(
            measurements,
            logits_done=event.done,
            logits_total=event.total,
            logits_sha256=event.sha256,
        )
    count = len(measurements.rounds)
    if measurements.ready is None or event.round != count:
        raise _out_of_order(f"round {event.round} after {count} rounds")
    at_s = measurements.at_s if event.at_s is None else (*measurements.at_s, event.at_s)
    return replace(measurements, rounds=(*measurements.rounds, event.samples_ms), at_s=at_s)


def _out_of_order(events: str) -> DeviceError:
    return DeviceError(
        f"the runner's events are out of order: {events}",
        "Lines are missing or mixed: measure again",
    )
