"""The events of a runner on a device: one JSON object a line.

A runner reads one `edgenext.devices.job.DeviceJob` and writes one event a line. Unknown keys and
events are ignored, so that an older edgenext reads a newer runner; a wrong type is an error. A run
that was interrupted and continued appends to its lines: a second `start` begins another attempt,
and a second `ready` of an artifact discards the rounds before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationError

from edgenext.benchmark.machine import MachineConditions
from edgenext.benchmark.worker import LoadedArtifact
from edgenext.devices.job import LONGEST, PROTOCOL, Count, Message, Milliseconds, Sha256
from edgenext.errors import DeviceError
from edgenext.schema import DeviceFacts, Environment, Evidence, Record
from edgenext.system.parsing import first_error, parse_json
from edgenext.system.reading import reason

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
    load_ms: Annotated[float, Field(ge=0, le=LONGEST)]
    first_ms: Milliseconds
    warmup: Count
    settled: bool
    fallback: str = ""
    precision_asked: str = ""
    precision: str = ""
    precision_emulated: bool | None = None

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
    at_s: Annotated[float, Field(ge=0, le=LONGEST)] | None = None
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
    seconds: Annotated[float, Field(gt=1e-6, le=LONGEST)]
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
    peak_rss_mb: Annotated[float, Field(ge=0, le=LONGEST)]


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
        value = parse_json(text)
    except ValueError as e:
        raise _invalid_line(text, f"not JSON: {reason(e)}") from e
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

    @property
    def round_ends_s(self) -> tuple[float, ...]:
        """When each round ended, in seconds from the first: with the last burst in it."""
        bursts = [m.at_s for m in (*self.artifacts.values(), self.second) if m]
        return tuple(max(ends) for ends in zip_longest(*bursts, fillvalue=0.0))

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
    builder = RecordBuilder()
    for event in events:
        builder.add(event)
    return builder.record()


class _ArtifactBuilder:
    """The measurements of one artifact while its events are read."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.rounds: list[tuple[float, ...]] = []
        self.at_s: list[float] = []

    def add(self, event: ArtifactEvent) -> None:
        if isinstance(event, ReadyEvent):
            self.fields["ready"], self.rounds, self.at_s = event, [], []
        elif isinstance(event, LoadEvent):
            self.fields["load"] = event
        elif isinstance(event, PeakEvent):
            self.fields["peak_rss_mb"] = event.peak_rss_mb
        elif isinstance(event, LogitsEvent):
            if event.done > event.total:
                raise _out_of_order(f"logits of {event.done} of {event.total} images")
            self.fields["logits_done"], self.fields["logits_total"] = event.done, event.total
            self.fields["logits_sha256"] = event.sha256
        else:
            count = len(self.rounds)
            if "ready" not in self.fields or event.round != count:
                raise _out_of_order(f"round {event.round} after {count} rounds")
            if event.at_s is not None:
                self.at_s.append(event.at_s)
            self.rounds.append(event.samples_ms)

    def measurements(self) -> ArtifactMeasurements:
        return ArtifactMeasurements(rounds=tuple(self.rounds), at_s=tuple(self.at_s), **self.fields)


class RecordBuilder:
    """The record while events are read, in time proportional to their number."""

    def __init__(self) -> None:
        self._start: StartEvent | None = None
        self._facts: DeviceFacts | None = None
        self._done: DoneEvent | None = None
        self._conditions: ConditionsEvent | None = None
        self._artifacts: dict[str, _ArtifactBuilder] = {}
        self._second: _ArtifactBuilder | None = None
        self._states: list[StateEvent] = []
        self._errors: list[ErrorEvent] = []

    def add(self, event: Event) -> None:
        """Take the next event. Raises as `record_events`."""
        if isinstance(event, StartEvent):
            self._add_start(event)
        elif isinstance(event, UnknownEvent):
            pass
        elif self._start is None:
            raise _out_of_order(f"{event.event!r} before 'start'")
        elif self._done:
            raise _out_of_order(f"{event.event!r} after 'done'")
        elif isinstance(event, StateEvent):
            self._states.append(event)
        elif isinstance(event, ConditionsEvent):
            self._conditions = event
        elif isinstance(event, ErrorEvent):
            self._errors.append(event)
        elif isinstance(event, DoneEvent):
            self._done = event
        elif isinstance(event, ReadyEvent | RoundEvent) and event.second:
            self._second = self._second or _ArtifactBuilder()
            self._second.add(event)
        else:
            if isinstance(event, ReadyEvent) and event.artifact in self._artifacts:
                # All is measured again: earlier states of the device no longer matter.
                self._states = []
            self._artifacts.setdefault(event.artifact, _ArtifactBuilder()).add(event)

    def _add_start(self, start: StartEvent) -> None:
        if start.protocol != PROTOCOL:
            raise DeviceError(
                f"the runner has protocol {start.protocol}, this edgenext {PROTOCOL}",
                "Update the older of the two and measure again",
            )
        former = self._start
        if former and self._done:
            raise _out_of_order("'start' after 'done'")
        if former and (former.job, former.environment) != (start.job, start.environment):
            raise _out_of_order("the events of another job or machine")
        self._start, self._errors = former or start, []
        self._facts = start.facts or self._facts

    def record(self) -> RunnerRecord:
        """The record of the events so far. Raises a DeviceError if there is none."""
        if self._start is None:
            raise DeviceError("the runner reported no event", "Measure again")
        return RunnerRecord(
            self._start.job,
            self._start.environment,
            self._facts,
            artifacts={name: a.measurements() for name, a in self._artifacts.items()},
            second=self._second.measurements() if self._second else None,
            states=tuple(self._states),
            conditions=self._conditions,
            errors=tuple(self._errors),
            done=self._done is not None,
            sha256=self._done.sha256 if self._done else None,
        )


def _out_of_order(events: str) -> DeviceError:
    return DeviceError(
        f"the runner's events are out of order: {events}",
        "Lines are missing or mixed: measure again",
    )
