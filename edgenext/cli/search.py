"""The command `edgenext search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import (
    AllImages,
    Batch,
    Calib,
    CalibCount,
    Json,
    Limit,
    Out,
    Recipe,
    Seed,
    Target,
    Uint8,
    batch_size,
    one_of,
    takes_ci_options,
    takes_model,
)
from edgenext.commands.search_choice import OBJECTIVES
from edgenext.options import (
    DEFAULT_MAX_DROP,
    DEFAULT_SCHEME,
    DEFAULT_TARGET,
    BenchOptions,
    CiOptions,
    DataOptions,
    ExportOptions,
    ModelOptions,
    QuantizeOptions,
)
from edgenext.report.text import interval_name
from edgenext.schema import Candidate, SearchReport
from edgenext.targets.scheme import CALIBRATED, FLOAT


@app.command()
@takes_model
@takes_ci_options
def search(
    *,
    subject: Annotated[
        str | None,
        typer.Argument(metavar="MODEL|ARTIFACT", help="Default: what the weights fit."),
    ] = None,
    data: Annotated[
        str, typer.Option(help="Labelled images: half choose the file, half measure its drop.")
    ],
    limit: Limit = None,
    calib: Calib,
    n: CalibCount = None,
    seed: Seed = 0,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Points of top-1 that the file may cost: stop when images decide it."),
    ] = None,
    all_images: AllImages = False,
    objective: Annotated[
        str,
        typer.Option(
            help="What is to be small: latency or size.", autocompletion=one_of(OBJECTIVES)
        ),
    ] = OBJECTIVES[0],
    scheme: Annotated[
        str,
        typer.Option(help=f"{' or '.join(CALIBRATED)}.", autocompletion=one_of(CALIBRATED)),
    ] = DEFAULT_SCHEME,
    target: Target = DEFAULT_TARGET,
    recipe: Recipe = None,
    threads: Annotated[int, typer.Option(help="Inside an operator, when timed.")] = 1,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds, 30 at least to be valid.")] = 30,
    batch: Batch = "1",
    uint8_input: Uint8 = False,
    model_options: ModelOptions,
    ci_options: CiOptions,
    out: Out = Path(),
    json: Json = False,
) -> None:
    """Find the fastest INT8 file within an accuracy budget.

    The noisiest sites are left in float, more and more of them, and every file is measured.
    With --max-drop a file is evaluated only until images decide the budget, in a seeded order.
    Stopped, the same command goes on where it was. Ends with 13 if no file is within the budget,
    with 14 if the images cannot decide it.
    """
    from edgenext import api
    from edgenext.cli.suggest import require_network

    require_network("search", subject, model_options)
    budget = DEFAULT_MAX_DROP if max_drop is None else max_drop
    gate = api.read_gate("search", ci_options, max_drop=budget)
    with console.working() as context:
        report = api.search(
            subject,
            DataOptions(data, limit, seed),
            QuantizeOptions(scheme, target, recipe=recipe, calib=calib, n=n, seed=seed),
            model_options,
            ExportOptions(target=target, batch=batch_size(batch), uint8_input=uint8_input),
            max_drop=max_drop,
            all_images=all_images,
            objective=objective,
            bench_options=BenchOptions(
                threads=threads, rounds=rounds, batch=batch_size(batch) or 1
            ),
            out=out,
            announce=console.announce,
            context=context,
        )
    console.print_json(report.model_dump(mode="json")) if json else show_search(report, out)
    console.show_gate(api.judge_results(gate, report))


def show_search(report: SearchReport, out: Path) -> None:
    """What a search has tried, and what it chose."""
    base_valid = report.candidates[0].valid
    rows = [
        (
            f"{'> ' if c.comparison.artifact == report.chosen else '  '}{c.comparison.artifact}",
            f"{c.p50_ms:.2f}",
            f"{c.speed:.2f}x{'' if c.valid and base_valid else ' (not valid)'}",
            f"{c.size_bytes / 2**20:.2f}",
            *_accuracy_cells(c),
            "yes" if c.front else "",
        )
        for c in report.candidates
    ]
    columns = (
        "candidate",
        "p50 ms",
        "speed",
        "MiB",
        "dB",
        "drop",
        interval_name(report.final.drop),
        "meets",
        "front",
    )
    most = "up to " if report.final.decision else ""
    images = f"{most}{report.choosing.n} images"
    console.table(f"chosen on {images}, budget {report.budget:g} points", columns, rows)
    console.out.print(report.sentence, soft_wrap=True)
    chosen = next(c for c in report.candidates if c.comparison.artifact == report.chosen)
    for site, reason in chosen.kept_float.items():
        if reason.startswith("search:"):
            console.out.print(f"float: {site}: {reason.removeprefix('search: ')}", soft_wrap=True)
    console.out.print(str(out / report.path), soft_wrap=True)


def _accuracy_cells(candidate: Candidate) -> tuple[str, ...]:
    """SQNR, drop, its interval, and whether the budget is met; the float file is the base."""
    comparison = candidate.comparison
    if comparison.scheme == FLOAT:
        return "", "base", "", ""
    drop = comparison.drop
    return (
        f"{comparison.sqnr_db:.1f}",
        f"{drop.points:+.2f}",
        f"{drop.ci95[0]:+.2f} to {drop.ci95[1]:+.2f}",
        "yes" if candidate.meets else "no",
    )
