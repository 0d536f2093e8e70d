"""What a run keeps of its evaluation: each image's two best classes, and all logits on request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from edgenext.commands.evaluate import Evaluation
from edgenext.formats.artifact import numbered
from edgenext.formats.session import Logits
from edgenext.metrics.top_two import top_two
from edgenext.report.predictions import IMAGES, RunPredictions, save_predictions
from edgenext.schema import EvaluatedImages
from edgenext.system.files import atomic_path, write_text

LOGITS = "logits"
"""The folder of full logits in a run's folder."""
ROWS = 4096
"""Images whose logits are converted at a time."""


def keep_predictions(folder: Path, evaluation: Evaluation) -> Path:
    """Write the run's `predictions.npz`; its path.

    Raises:
        OutputError: it cannot be written.
    """
    by_name = {row.name: top_two(row.logits) for row in evaluation.predictions}
    return save_predictions(folder, RunPredictions(by_name, evaluation.images.labels))


def keep_images(folder: Path, evaluation: Evaluation, classes: Sequence[str] | None) -> Path:
    """Write the run's `images.json`: which images the predictions are of; its path.

    Args:
        folder: of the run.
        evaluation: its images.
        classes: what is shown of each class; the ids of the data set's classes unless given.

    Raises:
        OutputError: it cannot be written.
    """
    images = evaluation.images
    record = EvaluatedImages(
        names=images.names,
        hashes=images.hashes,
        classes=tuple(classes or images.classes),
        transform=images.transform,
    )
    path = folder / IMAGES
    write_text(path, record.model_dump_json() + "\n")
    return path


def keep_logits(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Write `logits/<artifact>.npy` of everything that was evaluated; their paths.

    N×K float16 in the order of `predictions.npz`; float32 where a logit does not fit.

    Raises:
        OutputError: a file cannot be written.
    """
    rows = evaluation.predictions
    names = numbered([re.sub(r"[^\w.+-]", "_", row.name) for row in rows])
    paths = [folder / LOGITS / f"{name}.npy" for name in names]
    for path, row in zip(paths, rows, strict=True):
        _write(path, row.logits)
    return paths


def _write(path: Path, logits: Logits) -> None:
    parts = range(0, len(logits), ROWS)
    most = max(float(np.abs(logits[at : at + ROWS]).max()) for at in parts)
    dtype = np.dtype(np.float16 if most <= np.finfo(np.float16).max else np.float32)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        npy.write_array_header_1_0(
            file, {"descr": dtype.str, "fortran_order": False, "shape": logits.shape}
        )
        for at in parts:
            file.write(logits[at : at + ROWS].astype(dtype).tobytes())
