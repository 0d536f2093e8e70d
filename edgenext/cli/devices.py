"""Commands about the devices that artifacts are measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Json

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
    from edgenext.devices import adding

    with console.busy(f"asking {name} what it is"):
        device, facts = adding.add(
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
        console.show_device(device, facts)


@devices.command(name="list")
def list_devices(json: Json = False) -> None:
    """List the devices that were added."""
    from edgenext.devices.registry import devices_path, known

    found = list(known().values())
    if json:
        console.print_json([device.model_dump(mode="json") for device in found])
    elif found:
        console.show_devices(found)
    else:
        console.err.print(f"no devices in {devices_path()}: add one with `edgenext devices add`")


@devices.command()
def probe(name: Name, json: Json = False) -> None:
    """Ask a device what it is and what state it is in."""
    from edgenext.devices.registry import find, transport_for

    device = find(name)
    with console.busy(f"asking {name}"), transport_for(device) as link:
        facts = link.probe(device.python)
    if json:
        console.print_json(facts.model_dump(mode="json"))
    else:
        console.show_device(device, facts)


@devices.command()
def remove(name: Name) -> None:
    """Forget a device. What is on it stays: see clean."""
    from edgenext.devices.registry import remove as forget

    console.out.print(f"{forget(name).name} was removed")


@devices.command()
def clean(name: Name) -> None:
    """Remove every file of ours from a device."""
    from edgenext.devices.registry import find, transport_for

    device = find(name)
    with console.busy(f"cleaning {name}"), transport_for(device) as link:
        link.clean()
    console.out.print(f"{device.name}: nothing of ours is left in {link.root}")
