"""What this machine is, and which formats, runtimes and devices can be used on it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module, resources

from edgenext.benchmark.environment import environment, isa_label
from edgenext.commands.context import Context
from edgenext.devices.registry import known_devices
from edgenext.devices.transport import transports
from edgenext.errors import EdgenextError
from edgenext.formats.format import PACKAGE, ROWS, Converter, Format
from edgenext.schema import DoctorReport, Gain, Readiness
from edgenext.system.cpu import cpu_flags, cpuinfo, usable_cpus
from edgenext.system.environments import python_for

Check = Callable[[], object]


def doctor(*, context: Context | None = None) -> DoctorReport:
    """This machine, and every part of the package with what it lacks here: see `edgenext doctor`.

    Runtimes are imported, which takes some seconds.

    Args:
        context: told of every part.

    Raises:
        InputError: the file of devices is broken.

    >>> report = doctor()
    >>> [part.ready for part in report.parts if (part.part, part.name) == ("runtime", "onnx")]
    [True]
    """
    progress = (context or Context()).progress
    checks = list(_checks())
    parts = []
    for done, (part, check) in enumerate(checks, 1):
        parts.append(_checked(part, check))
        progress(f"checking {part.name}", done, len(checks))
    machine, flags = environment(), cpu_flags(cpuinfo())
    return DoctorReport(
        machine=machine,
        label=isa_label(machine),
        usable_cores=usable_cpus(),
        virtual="hypervisor" in flags if flags else None,
        gain=next((gain for gain in _gains() if gain.instructions in machine.isa), None),
        parts=tuple(parts),
        devices=tuple(f"{device.name} ({device.kind})" for device in known_devices().values()),
    )


def _checks() -> Iterator[tuple[Readiness, Check]]:
    for row in ROWS:
        for name, converter in _converters(row):
            readiness = Readiness(part="format", name=name, about=row.about, ready=True)
            yield readiness, partial(python_for, converter.needs, converter.extra or row.folder)
    for row in ROWS:
        if row.runs:
            about = ", ".join(f"{run.format} for {run.target}" for run in row.runs)
            readiness = Readiness(part="runtime", name=row.folder, about=about, ready=True)
            yield readiness, partial(_preload, row.folder)
    for name, transport in transports().items():
        readiness = Readiness(
            part="device", name=name, about=transport.help.rstrip("."), ready=True
        )
        yield readiness, transport.library or (lambda: None)


def _converters(row: Format) -> Iterator[tuple[str, Converter]]:
    """What writes a format's files; a format without a converter is the ONNX graph itself."""
    name = f"{row.name} --target {row.target}" if row.variant_of else row.name
    yield name, row.converter or Converter()
    for name, converter in row.converters.items():
        yield f"{row.name} --converter {name}", converter


def _preload(folder: str) -> None:
    import_module(f"{PACKAGE}.{folder}.session").preload()


def _checked(part: Readiness, check: Check) -> Readiness:
    try:
        check()
    except EdgenextError as e:
        command = e.remedy.partition(": ")[2]
        return part.model_copy(
            update={"ready": False, "problem": e.message, "command": command or e.remedy}
        )
    except Exception as e:  # noqa: BLE001 - a package that is installed may fail in any way
        problem = f"{type(e).__name__}: {e}".splitlines()[0]
        return part.model_copy(update={"ready": False, "problem": problem})
    return part


def _gains() -> Iterator[Gain]:
    text = resources.files("edgenext.commands").joinpath("gains.toml").read_text("utf-8")
    return (Gain(**row) for row in tomllib.loads(text)["gains"])
