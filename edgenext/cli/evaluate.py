"""The command `edgenext eval`."""

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
    takes_model,
)
from edgenext.options import DataOptions, ModelOptions
from edgenext.schema import (
    EvalReport,
)


@app.command(name="eval")
@takes_model
def evaluate(
    *,
    subjects: Annotated[
        list[str], typer.Argument(metavar="MODEL|ARTIFACT...", help="Models and artifacts.")
    ],
    data: Data,
    target: RuntimeOf = "",
    limit: Limit = None,
    seed: Seed = 0,
    model_options: ModelOptions,
    json: Json = False,
) -> None:
    """Score models and artifacts: top-1, top-5 and loss.

    Each runs in its own runtime, artifacts with --target in that target's.
    """
    from edgenext import api

    with console.working() as context:
        result = api.evaluate(
            subjects, DataOptions(data, limit, seed), model_options, target=target, context=context
        )
    console.print_json(result.model_dump(mode="json")) if json else show_eval(result)


def show_eval(report: EvalReport) -> None:
    """Accuracy of each artifact."""
    rows = [
        (r.artifact, f"{r.top1:.2f}", f"{r.top5:.2f}", f"{r.loss:.4f}", str(r.n), r.runtime)
        for r in report.results
    ]
    console.table("", ("artifact", "top-1 %", "top-5 %", "loss", "n", "runtime"), rows)
    for r in report.results:
        console.show_evidence(r.artifact, r.runtime, r.evidence)
    console.show_data(report.results[0].data)
