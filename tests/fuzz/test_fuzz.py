"""The seeded part of the campaigns: `make fuzz` and `make kills` have no end."""

from __future__ import annotations

import contextlib
import json
import random
import time
from pathlib import Path

import pytest
from fuzz import kills
from fuzz.campaign import campaign
from fuzz.device_readers import HostileChannel
from fuzz.mutations import json_mutation
from fuzz.readers import READERS, inputs_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgenext.devices.link import DeviceLink
from edgenext.devices.protocol import parse_line, record_events
from edgenext.devices.runners import trtexec
from edgenext.errors import DeviceError, EdgenextError, InputError
from edgenext.system.parsing import parse_json, parse_toml

INPUTS = 500
"""Inputs of all readers together; one of each reader that starts a process for each."""

BOUNDED = settings(
    max_examples=100, deadline=1000, suppress_health_check=list(HealthCheck), derandomize=True
)


@pytest.mark.slow
def test_every_reader_takes_any_bytes() -> None:
    """Accepted, or refused in one line: no other exception, no crash, no endless time or memory.

    `make fuzz` reads as many as wanted, and shows what each takes.
    """
    fast = tuple(reader for reader in READERS if reader.tier == "fast")
    counts = {reader.name: inputs_of(reader, INPUTS, fast) for reader in fast}
    counts |= {reader.name: 1 for reader in READERS if reader.tier == "process"}
    figures = campaign(counts)
    failures = {name: row.failures for name, row in figures.items() if row.failures}
    assert not failures
    assert sum(row.inputs for row in figures.values()) >= INPUTS
    for name, row in figures.items():  # mutations that nothing refuses would show nothing
        # these ignore what is damaged; of images, a bad one is counted
        assert row.refused or name in ("probe", "caches", "images"), name


def test_mutations_are_seeded() -> None:
    data = b'{"a": [1, 2.5, "x"], "b": {"c": null}}'
    seeds = [random.Random(i % 50) for i in range(100)]  # noqa: S311 - inputs, no secrets
    mutated = [json_mutation(data, rng) for rng in seeds]
    assert mutated[:50] == mutated[50:]
    assert len(set(mutated)) > 40


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@BOUNDED
@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_any_json_is_a_value_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse_json(data)


@BOUNDED
@given(st.text(alphabet="ab01.[]{}=\"\n' ,#-", max_size=300) | st.text(max_size=200))
def test_any_toml_is_a_table_or_an_input_error(text: str) -> None:
    with contextlib.suppress(InputError):
        assert isinstance(parse_toml(text, "it"), dict)


@BOUNDED
@given(st.lists(values.map(lambda value: json.dumps(value)) | st.text(), max_size=5))
def test_any_lines_of_a_runner_are_a_record_or_a_device_error(lines: list[str]) -> None:
    with contextlib.suppress(DeviceError):
        record_events(map(parse_line, lines))


@BOUNDED
@given(st.text(alphabet='{}[]":,x1 \nnamedisovlu', max_size=400))
def test_any_outputs_are_arrays_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        trtexec.parse_outputs(text)


REPEATED = (
    '{ "name" : "',
    '", "dimensions" : "1x2", "values" : [',
    '{ "name" : "x", "dimensions" : "2", "values" : [ 1, 2 ] },',
    '{ "name" : "' + " " * 50,
    "\n",
)


@pytest.mark.parametrize("piece", REPEATED)
def test_outputs_are_read_in_linear_time(piece: str) -> None:
    """A quadratic reader takes minutes for 2 MB."""
    start = time.process_time()
    with contextlib.suppress(ValueError):
        trtexec.parse_outputs("[" + piece * (2_000_000 // len(piece)) + "]")
    assert time.process_time() - start < 5


def test_events_are_recorded_in_linear_time() -> None:
    """An hour of 40 ms rounds; copying all rounds for each takes 90 s."""
    from fuzz.device_readers import events, jsonl

    parsed = [parse_line(line) for line in jsonl(events(rounds=3)).splitlines()]
    start, ready, first = parsed[:3]
    rounds = (first.model_copy(update={"round": i}) for i in range(90_000))
    begin = time.process_time()
    record = record_events([start, ready, *rounds])
    assert len(next(iter(record.artifacts.values())).rounds) == 90_000
    assert time.process_time() - begin < 5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["export", pytest.param("fetch", marks=pytest.mark.campaign)])
def test_a_killed_command_run_again_gives_the_same_bytes(name: str) -> None:
    """And nothing is left behind: no temporary file, no lock that is held, no process."""
    figures = kills.campaign({name: 1}, seed=17)  # killed after half of its time
    assert figures[name]["failures"] == []
    assert figures[name]["kills"] == 1


def test_an_error_that_readers_raise_is_of_one_kind() -> None:
    assert issubclass(InputError, EdgenextError) and issubclass(DeviceError, EdgenextError)


def test_a_message_is_one_line_whatever_a_file_names_its_tensors() -> None:
    error = InputError("1 unexpected (downsample_l\nyers.0.0.bias\x1b[31m)")
    assert str(error) == "1 unexpected (downsample_l yers.0.0.bias [31m)"


def test_a_folder_of_a_device_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("/home/nano/.edgenext\n/home/nano\n")
    (tmp_path / "piece").write_bytes(b"piece")
    with pytest.raises(DeviceError, match=r"gave an invalid answer: '/home/nano/.edgenext /home"):
        DeviceLink(HostileChannel(tmp_path), patience_s=0.0).push(tmp_path / "piece")


def test_a_device_that_dribbles_a_file_is_given_up(tmp_path: Path) -> None:
    """It says two gigabytes, and sends twenty bytes a call."""
    (tmp_path / "size").write_text(f"{1 << 31}\n")
    (tmp_path / "piece").write_bytes(b"12345678901234567890")
    with pytest.raises(DeviceError, match=r"a device sent only \d+ of 2147483648 bytes of out"):
        DeviceLink(HostileChannel(tmp_path), patience_s=0.0).text("job", "out")
    (tmp_path / "size").write_text("60\n")  # short pieces of a small file are all of it
    assert len(DeviceLink(HostileChannel(tmp_path), patience_s=0.0).text("job", "out")) == 60
