"""Plots of a report as inline SVG: a module each, None if the run does not hold its data."""

from __future__ import annotations

from edgenext.report.files import main_study
from edgenext.report.plots.canvas import Plot
from edgenext.report.plots.flips import flips
from edgenext.report.plots.rounds import rounds
from edgenext.report.plots.stages import stages
from edgenext.report.plots.tradeoff import tradeoff
from edgenext.report.predictions import RunPredictions
from edgenext.report.study import Study
from edgenext.schema import Verdict


def plots(study: Study, verdict: Verdict, predictions: RunPredictions | None) -> list[Plot]:
    """All plots that the run has data for.

    Raises:
        InputError: the predictions are not those of the run.
    """
    judged = next((e for e in study.entries if e.name == verdict.artifact), None)
    main = main_study(study, verdict)
    drawn = (
        tradeoff(study, verdict.budget, main),
        rounds(main),
        flips(study, judged, predictions) if judged and predictions else None,
        stages(main),
    )
    return [plot for plot in drawn if plot]
