"""The command `edgenext doctor`."""

from __future__ import annotations

from itertools import groupby

from rich.markup import escape

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Json
from edgenext.schema import DoctorReport, Readiness

TITLES = {
    "format": "Formats that can be made here",
    "runtime": "Runtimes of files",
    "device": "Ways to devices",
}


@app.command()
def doctor(json: Json = False) -> None:
    """Show what this machine is, and what works on it.

    Every format, runtime and way to a device, with the command that brings what is missing.
    """
    from edgenext import api

    with console.working() as context:
        report = api.doctor(context.progress)
    console.print_json(report.model_dump(mode="json")) if json else show_doctor(report)


def show_doctor(report: DoctorReport) -> None:
    """The machine, and a table of each kind of part."""
    machine = report.machine
    kind = {True: "virtual, ", False: "", None: ""}[report.virtual]
    cores = f"{report.usable_cores} of {machine.cores} cores usable"
    lines = [f"{machine.cpu}: {report.label}, {kind}{cores}, {machine.memory_gb} GiB of memory"]
    if report.gain:
        lines.append(f"INT8 on {report.gain.instructions}: measured {report.gain.gain}")
    else:
        lines.append("INT8 has not been measured on instructions like these: edgenext bench")
    if report.virtual:
        lines.append("A virtual machine's timings vary: edgenext bench says when they do not count")
    for line in lines:
        console.out.print(line, soft_wrap=True, markup=False)
    for part, rows in groupby(report.parts, key=lambda row: row.part):
        console.out.print()
        console.table(TITLES[part], ("", "", ""), [_row(row) for row in rows], text_columns=3)
    console.out.print()
    devices = ", ".join(report.devices) or "none; edgenext devices add adds one"
    console.out.print(f"Devices: {devices}", soft_wrap=True, markup=False)


def _row(row: Readiness) -> tuple[str, str, str]:
    needs = f"{row.problem}: {row.command}" if row.command else row.problem
    text = escape(row.about if row.ready else needs)  # 'edgenext[coreml]' is not markup
    return row.name, "ready" if row.ready else "missing", text
