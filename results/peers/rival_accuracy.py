"""Accuracy of every file on the same images, against the network in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
from inputs import val_images
from rival_files import RUNTIMES, MadeFile, Workshop
from rival_inputs import NETWORK, TWINS, Case
from rival_rows import RivalFile

from edgenext import api
from edgenext.commands.evaluate import logits_of
from edgenext.commands.images import labelled_images
from edgenext.commands.subject import Subject
from edgenext.data import ImageSet
from edgenext.errors import EdgenextError
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import Logits
from edgenext.metrics.accuracy import Predictions, compare_report
from edgenext.options import DataOptions
from edgenext.system.isolation import call_isolated

THREADS = 2
Row = dict[str, Any]


class Scores:
    """Scores files against the trained network.

    Args:
        workshop: where the files are.
        case: the trained network itself.
        limit: images at most; None for all.
    """

    def __init__(self, workshop: Workshop, case: Case, limit: int | None = None) -> None:
        if case.data is None:
            raise ValueError(f"{case.name} has no accuracy")
        context = api.Context()
        subject = Subject(checkpoint=context.checkpoint(case.arch, case.options))
        options = DataOptions(val_images(case.data), limit)
        self._workshop = workshop
        self.images: ImageSet = labelled_images(context, subject, options)
        values = logits_of(subject.session(), self.images)
        self._base = Predictions(subject.name, values, subject.sha256, "fp32", "torch", "host")
        self._pixels = workshop.folder / "pixels.npy"
        np.save(self._pixels, np.asarray(self.images.images))

    def score(self, row: RivalFile, case: Case, made: MadeFile) -> Row:
        """The comparison of a file with the network; `error` where it cannot be run."""
        about: Row = {"name": row.name, "case": case.name, "n": len(self.images)}
        try:
            artifact = self._workshop.artifact(row, case, made)
            values, runtime = self._logits(row, artifact)
            predictions = Predictions(
                row.name, values, made.sha256, artifact.manifest.scheme, runtime, "host"
            )
            report = compare_report(self._base, [predictions], self.images)
        except EdgenextError as e:
            return about | {"sha256": made.sha256, "error": e.message}
        return about | report.others[0].model_dump(mode="json")

    def base(self) -> Row:
        """The network itself."""
        report = compare_report(self._base, [self._base], self.images)
        return {"n": report.n, "data": report.data and report.data.data} | report.base.model_dump()

    def _logits(self, row: RivalFile, artifact: Artifact) -> tuple[Logits, str]:
        if not row.runtime:
            session = Subject(artifact=artifact).session(THREADS)
            return logits_of(session, self.images), session.runtime
        out = self._workshop.folder / "logits.npy"
        job = {
            "module": row.runtime,
            "path": str(artifact.path),
            "manifest": artifact.manifest.model_dump(mode="json"),
            "images": str(self._pixels),
            "out": str(out),
            "threads": THREADS,
        }
        log = self._workshop.folder / "logits.log"
        python = self._workshop.python(row)
        call = call_isolated("worker:logits", job, log, row.name, python, RUNTIMES)
        return np.load(out), call.result["runtime"]


def scored_cases(row: RivalFile) -> tuple[str, ...]:
    """Of which networks a file is scored: a float file of a twin is the same function."""
    return (NETWORK,) if row.float else (NETWORK, *TWINS)
