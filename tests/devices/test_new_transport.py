"""A new transport is one file: it is added to a copy of the package, and nothing else changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


class Copy:
    """The command line of a copy of the package, in processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        source = Path(edgenext.__file__).parent
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder / "edgenext", ignore=ignored)
        self.transports = folder / "edgenext/devices/transports"
        self.devices = folder / "devices.json"

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        own = {"PYTHONPATH": str(self.folder), "EDGENEXT_DEVICES": str(self.devices)}
        # each command would compile the copy again
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return subprocess.run(
            [sys.executable, "-m", "edgenext", *command],
            cwd=self.folder,
            env=inherited | own,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def ok(self, *command: str) -> str:
        result = self.run(*command)
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


ADD = ("devices", "add", "board", "--python", "/bin/false", "--json")


@pytest.mark.slow
def test_a_new_transport_is_one_file(copy: Copy) -> None:
    (copy.transports / "toy.py").write_text(TOY)
    help_text = copy.ok("devices", "add", "--help")
    assert all(
        option in help_text for option in ("--toy ", "--toy-password", "--ssh", "--host-key")
    )

    program = copy.folder / "program"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    toy, log = ("--toy", str(program)), copy.folder / "program.log"
    refused = copy.run(*ADD, *toy, "--toy-password", "other")
    assert refused.returncode == 10 and "needs a password" in refused.stderr, refused.stderr
    both = copy.run(*ADD, *toy, "--local")
    assert both.returncode == 2 and "--local and --toy given for board" in both.stderr
    assert not copy.devices.exists() and not log.exists()

    added = json.loads(copy.ok(*ADD, *toy, "--toy-password", "sesame"))
    assert added["links"] == {"toy": str(program)}
    assert json.loads(copy.devices.read_text())["devices"]["board"] == added
    assert str(program) in copy.ok("devices", "list")
    calls = log.read_text()
    facts = json.loads(copy.ok("devices", "probe", "board", "--json"))
    assert facts["machine"] == os.uname().machine
    assert len(log.read_text()) > len(calls) > 0, "the device is reached by the transport"


def test_a_transport_needs_no_more_than_an_address_and_a_channel(copy: Copy) -> None:
    (copy.transports / "bare.py").write_text(BARE)
    added = json.loads(copy.ok(*ADD, "--bare", "somewhere"))
    assert added["links"] == {"bare": "somewhere"} and added["kind"] == "linux"
    (copy.transports / "bare.py").unlink()
    gone = copy.run("devices", "probe", "board")
    assert gone.returncode == 10
    assert "board is reached by bare, which is not installed" in gone.stderr
    assert "Known transports: adb, local, ssh" in gone.stderr


def test_the_json_of_other_devices_has_no_links() -> None:
    local = Device(name="here", kind="linux", local=True)
    assert "links" not in local.model_dump() and "links" not in local.model_dump_json()
    assert Device.model_validate_json(local.model_dump_json()) == local
    toy = Device(name="board", kind="linux", links={"toy": "x"})
    assert Device.model_validate_json(toy.model_dump_json()) == toy
