"""The command `edgenext compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import (
    Data,
    Json,
    Limit,
    RuntimeOf,
    Seed,
    takes_ci_options,
    takes_model,
)
from edgenext.options import CiOptions, DataOptions, ModelOptions
from edgenext.report.text import decided_after, interval_name
from edgenext.schema import CompareReport, Comparison


@app.command()
@takes_model
@takes_ci_options
def compare(
    *,
    base: Annotated[
        str,
        typer.Argument(metavar="BASE", help="The model or artifact to compare with."),
    ],
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", help="Models or artifacts.")],
    data: Data,
    max_drop: Annotated[
        float | None,
        typer.Option(help="A budget in points: stop as soon as the images decide it."),
    ] = None,
    target: RuntimeOf = "",
    limit: Limit = None,
    seed: Seed = 0,
    model_options: ModelOptions,
    ci_options: CiOptions,
    json: Json = False,
) -> None:
    """Measure the paired accuracy drop against a base.

    All see the same images. The drop has an interval and a p-value. With --target the others run
    in that target's runtime, the base in its own. With --max-drop images are evaluated in a
    seeded order until each drop is shown to be under or over the budget; it ends with 13 if one is
    over, with 14 if all images do not decide it.
    """
    from edgenext import api

    gate = api.read_gate("compare", ci_options, max_drop=max_drop)
    with console.working() as context:
        result = api.compare(
            base,
            others,
            DataOptions(data, limit, seed),
            model_options,
            max_drop=max_drop,
            target=target,
            context=context,
        )
    console.print_json(result.model_dump(mode="json")) if json else show_compare(result)
    console.show_gate(api.judge_results(gate, result, [base, *others]))


def show_compare(report: CompareReport) -> None:
    """Paired drops."""
    rows = [(report.base.artifact, f"{report.base.top1:.2f}", *("",) * 6)]
    rows += [
        (
            c.artifact,
            f"{c.top1:.2f}",
            f"{c.drop.points:+.2f}",
            f"{c.drop.ci95[0]:+.2f} to {c.drop.ci95[1]:+.2f}",
            f"{c.drop.lost}/{c.drop.gained}",
            f"{c.drop.p_value:.2g}",
            f"{c.agreement:.2f}",
            f"{c.sqnr_db:.1f}",
        )
        for c in report.others
    ]
    kind = interval_name(report.others[0].drop)
    columns = ("artifact", "top-1 %", "drop", kind, "lost/gained", "p", "agree %", "dB")
    console.table(f"{report.n} images, drops in points", columns, rows)
    for c in report.others:
        console.show_evidence(c.artifact, c.runtime, c.evidence)
        show_decision(c)
    console.show_data(report.data, stratified=report.others[0].decision is None)


def show_decision(comparison: Comparison) -> None:
    """How many images decided a budget."""
    if decision := comparison.decision:
        after = decided_after(decision).removeprefix(", ")
        console.out.print(
            f"{comparison.artifact}: budget of {decision.budget:g} points: {decision.outcome}, "
            f"{after} in the order of seed {decision.seed}",
            soft_wrap=True,
            markup=False,
        )
