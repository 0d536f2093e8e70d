"""Devices to measure on: add, list, probe, remove."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Command, Json, with_options
from edgenext.devices.transport import transports
from edgenext.schema import DEVICE_KINDS, Device, DeviceFacts

devices = typer.Typer(no_args_is_help=True, help=__doc__)
app.add_typer(devices, name="devices")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The device's name.")]
KINDS = f"{', '.join(DEVICE_KINDS[:-1])} or {DEVICE_KINDS[-1]}"


def takes_transport_options(command: Command) -> Command:
    """Give a command the options of all transports; it gets those that are set, `transport`."""
    added: dict[str, tuple[Any, Any]] = {}
    for transport in transports().values():
        kind: Any = str if transport.example else bool
        option = typer.Option(f"--{transport.name}", help=transport.help)
        added[transport.name] = (Annotated[kind, option], kind())
        default: object
        for extra in transport.options:
            kind, default = (Path | None, None) if extra.is_path else (str, "")
            if extra.is_switch:
                kind, default = bool, False
            option = typer.Option(extra.spelling, help=extra.help)
            added[extra.name] = (Annotated[kind, option], default)

    def collect(values: dict[str, Any]) -> dict[str, str | bool]:
        texts = {n: str(v.resolve()) if isinstance(v, Path) else v for n, v in values.items()}
        return {name: text for name, text in texts.items() if text}

    return with_options(command, "transport", added, collect)


@devices.command()
@takes_transport_options
def add(
    name: Name,
    transport: dict[str, str | bool],
    bundle: Annotated[
        Path | None, typer.Option(help="No link: a folder that you carry there and back.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help=f"{KINDS}; default: the kind that the device reports.")
    ] = "",
    python: Annotated[
        str,
        typer.Option(
            help="The interpreter there that has onnxruntime, LiteRT or OpenVINO; default: "
            "python3, and with --local the one that runs edgenext."
        ),
    ] = "",
    root: Annotated[str, typer.Option(help="Absolute path there of a folder for our files.")] = "",
    json: Json = False,
) -> None:
    """Add a device and probe it."""
    from edgenext import api

    with console.busy(f"probing {name}"):
        device, facts = api.add_device(
            name,
            bundle=str(bundle.resolve()) if bundle else "",
            kind=kind,
            python=python,
            root=root,
            **transport,
        )
    if json:
        console.print_json(device.model_dump(mode="json"))
    else:
        show_device(device, facts)


@devices.command(name="list")
def list_devices(json: Json = False) -> None:
    """List the devices that were added."""
    from edgenext import api

    known = api.list_devices()
    if json:
        console.print_json([device.model_dump(mode="json") for device in known])
    elif known:
        show_devices(known)
    else:
        from edgenext.devices.registry import devices_path

        console.err.print(f"no devices in {devices_path()}: add one with `edgenext devices add`")


@devices.command()
def probe(name: Name, json: Json = False) -> None:
    """Show what a device is and its present state."""
    from edgenext import api

    with console.busy(f"probing {name}"):
        device, facts = api.probe_device(name)
    if json:
        console.print_json(facts.model_dump(mode="json"))
    else:
        show_device(device, facts)


@devices.command()
def remove(name: Name) -> None:
    """Remove a device from the list; its files stay on it: see clean."""
    from edgenext import api

    console.out.print(f"{api.remove_device(name).name} was removed")


@devices.command()
def clean(name: Name) -> None:
    """Remove all files of edgenext from a device."""
    from edgenext import api

    with console.busy(f"cleaning {name}"):
        root = api.clean_device(name)
    console.out.print(f"{name}: no file of edgenext is left in {root}")


def show_devices(known: Sequence[Device]) -> None:
    """A table of devices."""
    rows = [(d.name, d.kind, _address(d), d.python) for d in known]
    console.table("", ("device", "kind", "where", "python"), rows)


def show_device(device: Device, facts: DeviceFacts | None) -> None:
    """One device and its facts, where it was probed."""
    console.out.print(f"{device.name}: {device.kind}, {_address(device)}")
    if facts is None:
        return
    software = ", ".join(f"{name} {version}" for name, version in facts.software.items())
    heat = ", ".join(f"{name} {value:.0f} °C" for name, value in facts.temperatures_c.items())
    lines = {
        "model": facts.model,
        "soc": facts.soc,
        "system": f"{facts.os}, {facts.machine}, {facts.cores} cores, {facts.memory_mb:.0f} MiB",
        "isa": ", ".join(facts.isa),
        "adapter": facts.adapter,
        "software": software,
        "tools": ", ".join(facts.tools.values()),
        "power mode": facts.power_mode,
        "rails": ", ".join(facts.rails),
        "heat": heat,
        "emulator": facts.emulator and f"{facts.emulator}: latency is not measured under it",
    }
    for title, text in lines.items():
        if text:
            console.out.print(f"  {title}: {text}", soft_wrap=True)
    for note in facts.notes:
        console.out.print(f"  note: {note}", soft_wrap=True)


def _address(device: Device) -> str:
    return ", ".join(device.addresses.values())
