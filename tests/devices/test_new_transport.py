"""A new transport is one file: it is added to a copy of the package, and nothing else changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.cli_calls import Cli, Outcome

import edgenext
from edgenext.schema import Device

TOY = '''\
"""Devices behind a program that runs the command in its arguments, such as `env`."""

import shlex

from edgenext.devices.transport import Transport, TransportOption
from edgenext.devices.transports.local import LocalChannel
from edgenext.errors import DeviceError


class ToyChannel(LocalChannel):
    def __init__(self, program, root):
        super().__init__(root)
        self.where = f"toy {program}"
        self._program = program

    def call(self, command, stdin=b"", timeout_s=60.0):
        return super().call(f"{self._program} sh -c {shlex.quote(command)}", stdin, timeout_s)


def device_fields(address, options):
    if options.get("password") != "sesame":
        raise DeviceError(f"toy {address} needs a password", "Give --toy-password")
    return {"links": {"toy": address}}


TRANSPORT = Transport(
    name="toy",
    help="A program that runs a command.",
    open_channel=lambda device: ToyChannel(device.links["toy"], device.root),
    example="PROGRAM",
    options=(TransportOption("password", "Its password.", flag="--toy-password"),),
    device_fields=device_fields,
)
'''
BARE = '''\
"""A transport with no more than it needs: an address, and a channel."""

from edgenext.devices.transport import Transport
from edgenext.devices.transports.local import LocalChannel

TRANSPORT = Transport(
    name="bare",
    help="Any text.",
    open_channel=lambda device: LocalChannel(device.root),
    example="TEXT",
)
'''
PROGRAM = '#!/bin/sh\necho called >> "$0.log"\nexec "$@"\n'
"""A program for the toy transport that records its calls."""


COMMANDS = """
import contextlib, io, json, sys
from cli.cli_calls import call
for line in sys.stdin:
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = call(*json.loads(line))
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""
"""Runs commands, one a line; a line with the exit code and what was written answers each."""
TESTS = Path(__file__).parents[1]


class Copy:
    """The command line of a copy of the package with more transports, in a process of its own."""

    def __init__(self, folder: Path, transports: dict[str, str]) -> None:
        self.folder, self.devices = folder, folder / "devices.json"
        source = Path(edgenext.__file__).parent
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder / "edgenext", ignore=ignored)
        for name, text in transports.items():
            (folder / "edgenext/devices/transports" / name).write_text(text)
        paths = os.pathsep.join((str(folder), str(TESTS)))
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMANDS],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": paths, "EDGENEXT_DEVICES": str(self.devices)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str) -> Outcome:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return Outcome(*json.loads(self.process.stdout.readline()))

    def ok(self, *command: str) -> str:
        result = self.run(*command)
        assert result.code == 0, result.err
        return result.out


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    copy = Copy(tmp_path_factory.mktemp("copy"), {"toy.py": TOY, "bare.py": BARE})
    with copy.process:
        yield copy


ADD = ("devices", "add", "board", "--python", "/bin/false", "--json")


@pytest.mark.slow
def test_a_new_transport_is_one_file(copy: Copy) -> None:
    help_text = copy.ok("devices", "add", "--help")
    assert all(
        option in help_text for option in ("--toy ", "--toy-password", "--ssh", "--host-key")
    )

    program = copy.folder / "program"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    toy, log = ("--toy", str(program)), copy.folder / "program.log"
    refused = copy.run(*ADD, *toy, "--toy-password", "other")
    assert refused.code == 10 and "needs a password" in refused.err, refused.err
    both = copy.run(*ADD, *toy, "--local")
    assert both.code == 2 and "--local and --toy given for board" in both.err
    assert not copy.devices.exists() and not log.exists()

    added = json.loads(copy.ok(*ADD, *toy, "--toy-password", "sesame"))
    assert added["links"] == {"toy": str(program)}
    assert json.loads(copy.devices.read_text())["devices"]["board"] == added
    assert str(program) in copy.ok("devices", "list")
    calls = log.read_text()
    facts = json.loads(copy.ok("devices", "probe", "board", "--json"))
    assert facts["machine"] == os.uname().machine
    assert len(log.read_text()) > len(calls) > 0, "the device is reached by the transport"


@pytest.mark.slow
def test_a_transport_needs_no_more_than_an_address_and_a_channel(copy: Copy, cli: Cli) -> None:
    copy.devices.unlink(missing_ok=True)
    added = json.loads(copy.ok(*ADD, "--bare", "somewhere"))
    assert added["links"] == {"bare": "somewhere"} and added["kind"] == "linux"
    Path(os.environ["EDGENEXT_DEVICES"]).write_bytes(copy.devices.read_bytes())
    gone = cli.run("devices", "probe", "board")  # by the package without this transport
    assert gone.code == 10
    assert "board is reached by bare, which is not installed" in gone.err
    assert "Known transports: adb, browser, local, node, serve, ssh" in gone.err


def test_the_json_of_other_devices_has_no_links() -> None:
    local = Device(name="here", kind="linux", local=True)
    assert "links" not in local.model_dump() and "links" not in local.model_dump_json()
    assert Device.model_validate_json(local.model_dump_json()) == local
    toy = Device(name="board", kind="linux", links={"toy": "x"})
    assert Device.model_validate_json(toy.model_dump_json()) == toy
