"""The command `edgenext quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.export import show_export
from edgenext.cli.options import (
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
from edgenext.errors import UsageError
from edgenext.formats.format import FORMATS
from edgenext.options import (
    DEFAULT_SCHEME,
    DEFAULT_TARGET,
    ENGINE,
    CiOptions,
    DataOptions,
    ExportOptions,
    ModelOptions,
    QuantizeOptions,
)
from edgenext.quantize.baseline_rows import BASELINES
from edgenext.schema import (
    Candidate,
    SearchReport,
)
from edgenext.targets.scheme import FLOAT, SCHEMES


@app.command()
@takes_model
@takes_ci_options
def quantize(
    *,
    subject: Annotated[
        str | None,
        typer.Argument(metavar="MODEL|ARTIFACT", help="Default: what the weights fit."),
    ] = None,
    calib: Calib = "",
    n: CalibCount = None,
    seed: Seed = 0,
    scheme: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(SCHEMES)}; what a target runs differs.",
            autocompletion=one_of(SCHEMES),
        ),
    ] = DEFAULT_SCHEME,
    target: Target = DEFAULT_TARGET,
    format: Annotated[  # noqa: A002 - the option's name
        str | None,
        typer.Option(
            help="Format of the file; default: the target's own.", autocompletion=one_of(FORMATS)
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help=f"`edgenext`, or a baseline: {', '.join(BASELINES)}.")
    ] = ENGINE,
    recipe: Recipe = None,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Search: the fastest file that costs at most so many points of top-1."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Labelled images for the search: half choose, half report.")
    ] = None,
    objective: Annotated[str, typer.Option(help="Of the search: latency or size.")] = "latency",
    limit: Limit = None,
    batch: Batch = "1",
    uint8_input: Uint8 = False,
    model_options: ModelOptions,
    ci_options: CiOptions,
    out: Out = Path(),
    json: Json = False,
) -> None:
    """Quantize a model or a float artifact.

    With --max-drop, search for the fastest file under a budget; stopped, it goes on later.
    """
    from edgenext import api
    from edgenext.targets.target import require_target

    quantize_options = QuantizeOptions(scheme, target, engine, recipe, calib, n, seed)
    export_options = ExportOptions(
        target=target,
        batch=batch_size(batch),
        uint8_input=uint8_input,
        format=format or require_target(target).format,
    )
    if max_drop is None:
        if ci_options.fail_if or ci_options.junit or ci_options.csv:
            raise UsageError(
                "--fail-if, --junit and --csv are about a search", "Give --max-drop and --data"
            )
        with console.working() as context:
            artifact = api.quantize(
                subject, quantize_options, model_options, export_options, out=out, context=context
            )
        result = artifact.result()
        console.print_json(result.model_dump(mode="json")) if json else show_export(result)
        if (result.target, result.scheme) == (DEFAULT_TARGET, DEFAULT_SCHEME) and not json:
            show_advice()
        return
    if data is None:
        raise UsageError("a search needs labelled images", "Give --data")
    gate = api.read_gate("quantize", ci_options, budget=max_drop)
    with console.working() as context:
        report = api.search(
            subject,
            quantize_options,
            DataOptions(data, limit, seed),
            max_drop,
            model_options,
            export_options,
            objective=objective,
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
        "95 % interval",
        "meets",
        "front",
    )
    console.table(
        f"chosen on {report.choosing.n} images, budget {report.budget:g} points", columns, rows
    )
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


def show_advice() -> None:
    """What to expect of INT8 on this machine."""
    from edgenext.benchmark.advice import advice_line
    from edgenext.benchmark.environment import environment

    console.err.print(advice_line(environment()), soft_wrap=True)
