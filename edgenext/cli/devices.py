"""Commands about the devices that artifacts are measured on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Json
from edgenext.schema import (
    Device,
    DeviceFacts,
)

devices = typer.Typer(no_args_is_help=True, help="Devices to measure on: add, list, probe, remove.")
app.add_typer(devices, name="devices")

Name = Annotated[str, typer.Argument(help="What the device is called.")]


@devices.command()
def add(
    name: Name,
    ssh: Annotated[
        str, typer.Option(help="user@host[:port]: Jetson, Raspberry Pi, any Linux.")
    ] = "",
    adb: Annotated[
        str, typer.Option(help="Serial number or host:port, as `adb devices` says.")
    ] = "",
    bundle: Annotated[
        Path | None, typer.Option(help="No link: a folder that you carry there and back.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="This machine itself.")] = False,
    kind: Annotated[
        str, typer.Option(help="jetson, android, iphone or linux; default: what it says it is.")
    ] = "",
    identity: Annotated[Path | None, typer.Option(help="Private key for --ssh.")] = None,
    host_key: Annotated[
        str, typer.Option(help="Fingerprint of the host's key, SHA256:…, if ssh does not know it.")
    ] = "",
    python: Annotated[
        str,
        typer.Option(
            help="The interpreter there that has onnxruntime or LiteRT; default: python3, and with "
            "--local the one that runs edgenext."
        ),
    ] = "",
    root: Annotated[str, typer.Option(help="Folder there for our files; absolute.")] = "",
    json: Json = False,
) -> None:
    """Add a device, and see what it is."""
    from edgenext import api

    with console.busy(f"asking {name} what it is"):
        device, facts = api.add_device(
            name,
            ssh=ssh,
            adb=adb,
            bundle=str(bundle.resolve()) if bundle else "",
            local=local,
            kind=kind,
            identity=str(identity.resolve()) if identity else "",
            fingerprint=host_key,
            python=python,
            root=root,
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
    """Ask a device what it is and what state it is in."""
    from edgenext import api

    with console.busy(f"asking {name}"):
        device, facts = api.probe_device(name)
    if json:
        console.print_json(facts.model_dump(mode="json"))
    else:
        show_device(device, facts)


@devices.command()
def remove(name: Name) -> None:
    """Forget a device. What is on it stays: see clean."""
    from edgenext import api

    console.out.print(f"{api.remove_device(name).name} was removed")


@devices.command()
def clean(name: Name) -> None:
    """Remove every file of ours from a device."""
    from edgenext import api

    with console.busy(f"cleaning {name}"):
        root = api.clean_device(name)
    console.out.print(f"{name}: no file of edgenext is left in {root}")


def show_devices(found: Sequence[Device]) -> None:
    """The devices that were added."""
    rows = [(d.name, d.kind, d.ssh or d.adb or d.bundle or "this machine", d.python) for d in found]
    console.table("", ("device", "kind", "where", "python"), rows)


def show_device(device: Device, facts: DeviceFacts | None) -> None:
    """One device and what it says of itself."""
    where = device.ssh or device.adb or device.bundle or "this machine"
    console.out.print(f"{device.name}: {device.kind}, {where}")
    if facts is None:
        return
    software = ", ".join(f"{name} {version}" for name, version in facts.software.items())
    heat = ", ".join(f"{name} {value:.0f} °C" for name, value in facts.temperatures_c.items())
    lines = {
        "model": facts.model,
        "soc": facts.soc,
        "system": f"{facts.os}, {facts.machine}, {facts.cores} cores, {facts.memory_mb:.0f} MiB",
        "isa": ", ".join(facts.isa),
        "software": software,
        "tools": ", ".join(facts.tools.values()),
        "power mode": facts.power_mode,
        "rails": ", ".join(facts.rails),
        "heat": heat,
        "emulator": facts.emulator and f"{facts.emulator}: its time says nothing",
    }
    for head, text in lines.items():
        if text:
            console.out.print(f"  {head}: {text}", soft_wrap=True)
    for note in facts.notes:
        console.out.print(f"  note: {note}", soft_wrap=True)
