"""What every artifact of a run answered for each image: `predictions.npz` in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import InputError
from edgenext.metrics.top_two import TopTwo
from edgenext.schema import EvaluatedImages
from edgenext.system.arrays import read_arrays, write_arrays
from edgenext.system.parsing import read_record

PREDICTIONS = "predictions.npz"
IMAGES = "images.json"
"""Which images the predictions are of: a record `EvaluatedImages`."""
LABELS = "labels"
FIELDS = {"first": "i", "second": "i", "margin": "f"}
"""Of each artifact an array `<field>/<name>`, of a kind of number: integers or floats."""
MAX_BYTES = 1 << 28
"""The largest file that is read, inflated: 20 artifacts on a million images."""
REMEDY = "Delete it to write the report without it, or run `edgenext run` again"


@dataclass(frozen=True)
class RunPredictions:
    """The two best classes of each of N images by artifact, and N int64 labels."""

    by_name: Mapping[str, TopTwo]
    labels: NDArray[np.int64]


def save_predictions(run_dir: Path, predictions: RunPredictions) -> Path:
    """Write `predictions.npz`: 12 bytes an image and artifact before compression; its path.

    Of N images it has the array `labels` (N int32), and of each artifact `first/<name>`,
    `second/<name>` (N int32) and `margin/<name>` (N float32).

    Raises:
        OutputError: it cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {LABELS: predictions.labels.astype(np.int32)}
    for name, best in predictions.by_name.items():
        arrays |= {f"{field}/{name}": getattr(best, field) for field in FIELDS}
    path = run_dir / PREDICTIONS
    write_arrays(path, arrays)
    return path


def load_predictions(run_dir: Path) -> RunPredictions | None:
    """The `predictions.npz` of a run folder, or None if there is none.

    Raises:
        InputError: the file is damaged, or its arrays do not fit together.
    """
    path = run_dir / PREDICTIONS
    if not path.exists():
        return None
    try:
        arrays = read_arrays(path, limit=MAX_BYTES)
    except InputError as e:
        raise InputError(f"{path} does not hold predictions: {e.message}", REMEDY) from e
    labels = arrays.pop(LABELS, None)
    if labels is None or labels.ndim != 1 or labels.dtype.kind != "i":
        raise InputError(f"{path} does not hold an integer label for each image", REMEDY)
    names = dict.fromkeys(key.partition("/")[2] for key in arrays)
    by_name = {name: _best(path, arrays, name, len(labels)) for name in names}
    return RunPredictions(by_name, labels.astype(np.int64))


def load_images(run_dir: Path, predictions: RunPredictions) -> EvaluatedImages | None:
    """The `images.json` of a run folder, or None if there is none, as in runs of earlier versions.

    Raises:
        InputError: the file is damaged, or is of other images than the predictions.
    """
    path = run_dir / IMAGES
    if not path.exists():
        return None
    images = read_record(path, EvaluatedImages, "a list of images", remedy=REMEDY)
    n, classes = len(predictions.labels), len(images.classes)
    if not len(images.names) == len(images.hashes) == n:
        raise InputError(f"{path} does not name each of the {n} images of {PREDICTIONS}", REMEDY)
    answers = np.concatenate(
        [predictions.labels, *(best.first for best in predictions.by_name.values())]
    )
    if n and not (answers.min() >= 0 and answers.max() < classes):
        raise InputError(f"{path} does not name every class of {PREDICTIONS}", REMEDY)
    return images


def _best(path: Path, arrays: Mapping[str, NDArray[Any]], name: str, n: int) -> TopTwo:
    """The predictions of one artifact for N images."""
    for field, kind in FIELDS.items():
        array = arrays.get(f"{field}/{name}")
        if array is None or array.shape != (n,) or array.dtype.kind != kind:
            raise InputError(
                f"{path} has no {field} of {name or 'an artifact'} for {n} labels", REMEDY
            )
    margin = arrays[f"margin/{name}"]
    if not np.isfinite(margin).all() or (margin < 0).any():
        raise InputError(f"{path} has margins of {name} that are no distances", REMEDY)
    return TopTwo(
        first=arrays[f"first/{name}"].astype(np.int32),
        second=arrays[f"second/{name}"].astype(np.int32),
        margin=margin.astype(np.float32),
    )
