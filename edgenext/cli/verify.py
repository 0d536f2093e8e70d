"""The command `edgenext verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Json, takes_model
from edgenext.errors import VerificationError
from edgenext.options import ModelOptions
from edgenext.schema import HashProblem, VerifyReport


@app.command()
@takes_model
def verify(
    *,
    subject: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE|FOLDER",
            help="An artifact, a package, or a run's folder; default: the newest run.",
        ),
    ] = None,
    calib: Annotated[
        str | None, typer.Option(help="The images that it was calibrated on, or more.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="The artifact that it was quantized from.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make it again and compare the bytes.")
    ] = False,
    model_options: ModelOptions,
    json: Json = False,
) -> None:
    """Compare files with every hash that is recorded of them.

    Names each file that is not what a record says. With --rebuild, an artifact is made again from
    what its manifest says: from the same weights and images the same bytes come. Ends with 12 if
    anything differs.
    """
    from edgenext import api
    from edgenext.cli.suggest import newest_run_here

    subject = subject or newest_run_here("verify")
    with console.working() as context:
        report = api.verify(
            subject, model_options, calib=calib, source=source, rebuild=rebuild, context=context
        )
    console.print_json(report.model_dump(mode="json")) if json else show(report)
    if report.problems:
        first, more = report.problems[0], len(report.problems) - 1
        others = f", and {more} more" if more else ""
        raise VerificationError(
            f"{report.subject} is not what its records say: {_line(first)}{others}",
            "Make it again, or take it again from where it came",
        )
    if report.rebuild and not report.rebuild.same:
        raise VerificationError(
            f"{report.subject} cannot be made again: {console.listed(report.rebuild.differs)} "
            "differs",
            _remedy(report),
        )


def show(report: VerifyReport) -> None:
    """What differs, what no record has a hash of, and whether the file came out the same."""
    for problem in report.problems:
        console.out.print(_line(problem), markup=False, soft_wrap=True)
    if report.rebuild:
        for name, (then, now) in report.rebuild.tools.items():
            line = f"made with {name} {then}; here it is {now or 'not installed'}"
            console.out.print(line, markup=False, soft_wrap=True)
        outcome = "the same bytes" if report.rebuild.same else "other bytes"
        console.out.print(f"made again in {report.rebuild.seconds:.0f} s: {outcome}")
    if report.uncovered:
        names = console.listed(report.uncovered)
        console.out.print(f"no hash is recorded of: {names}", markup=False, soft_wrap=True)
    for note in report.notes:
        console.out.print(f"note: {note}", markup=False, soft_wrap=True)
    if report.sound:
        console.out.print(
            f"{report.subject}: {report.hashes} hashes of {report.files} files hold",
            markup=False,
            soft_wrap=True,
        )


def _line(problem: HashProblem) -> str:
    line = f"{problem.file} {problem.problem}, says {problem.by}"
    if problem.actual and problem.expected:
        line += f": sha256 {problem.actual[:12]}…, not {problem.expected[:12]}…"
    return line


def _remedy(report: VerifyReport) -> str:
    if report.rebuild and report.rebuild.tools:
        return "Install the versions of its manifest"
    return "Its manifest, weights or images are others, or the CPU computes in another order"
