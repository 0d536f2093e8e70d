"""What a report says besides its figures, from files beside the run's summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgenext.report.answers import answers_of
from edgenext.report.classes import CLASSES, class_counts, class_table, classes_csv
from edgenext.report.findings import Findings
from edgenext.report.pictures import (
    CHANGED,
    ChangedImages,
    changed_csv,
    changed_images,
    class_name,
    image_data,
)
from edgenext.report.predictions import RunPredictions, load_images
from edgenext.report.study import Study
from edgenext.report.use import Link, UseBox, links_of, use_box
from edgenext.schema import Verdict

TABLES = (CHANGED, CLASSES)
"""Files beside a report: every changed answer, and every class."""


@dataclass(frozen=True)
class Details:
    """Sections of a report that the figures do not need; None where the run lacks their files.

    `links` are the files that are there, by artifact; `tables` the texts of CSV files by name.
    """

    use: UseBox | None = None
    images: ChangedImages | None = None
    classes: Findings | None = None
    links: Mapping[str, Link] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)


NO_DETAILS = Details()


def details_of(
    study: Study,
    verdict: Verdict,
    predictions: RunPredictions | None,
    run_dir: Path,
    report_dir: Path,
    data: str | Path | None = None,
) -> Details:
    """The details of a run.

    Args:
        study: the run.
        verdict: on it.
        predictions: of the run.
        run_dir: its folder.
        report_dir: the folder of the report.
        data: the evaluated images; by default they are looked for by their name.

    Raises:
        InputError: files that are damaged, or of another run.
        DataError: `data` is neither a folder nor a zip.
    """
    use = use_box(study, verdict, run_dir, report_dir)
    links = links_of(study, run_dir, report_dir)
    judged = next((e for e in study.entries if e.name == verdict.artifact), None)
    answers = answers_of(study, judged, predictions)
    if answers is None or predictions is None:
        return Details(use=use, links=links)
    images = load_images(run_dir, predictions)
    evaluated = study.summary.compare.data
    pixels = image_data(evaluated.data if evaluated else "", run_dir, data)
    classes = class_counts(answers, lambda index: class_name(images, index))
    return Details(
        use=use,
        images=changed_images(answers, images, pixels),
        classes=class_table(classes),
        links=links,
        tables={CHANGED: changed_csv(answers, images), CLASSES: classes_csv(classes)},
    )
