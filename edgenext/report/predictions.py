"""What every artifact of a run answered for each image: `predictions.npz` in its folder."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import InputError
from edgenext.metrics.top_two import TopTwo
from edgenext.system.files import atomic_path

PREDICTIONS = "predictions.npz"
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

    Of A artifacts and N images it has the arrays `names` (A), `labels` (N int32), `first` and
    `second` (A×N int32) and `margin` (A×N float32).

    Raises:
        OutputError: it cannot be written.
    """
    best = predictions.by_name.values()
    arrays = {
        "names": np.array(list(predictions.by_name), np.str_),
        "labels": predictions.labels.astype(np.int32),
        "first": np.stack([top.first for top in best]),
        "second": np.stack([top.second for top in best]),
        "margin": np.stack([top.margin for top in best]),
    }
    path = run_dir / PREDICTIONS
    with atomic_path(path) as temporary, temporary.open("wb") as f:
        np.savez_compressed(f, allow_pickle=False, **arrays)
    return path


def load_predictions(run_dir: Path) -> RunPredictions | None:
    """The `predictions.npz` of a run folder, or None if there is none.

    Raises:
        InputError: the file is damaged, or its arrays do not fit together.
    """
    path = run_dir / PREDICTIONS
    if not path.exists():
        return None
    arrays = _read(path)
    expected = {"names": "U", "labels": "i", "first": "i", "second": "i", "margin": "f"}
    kinds = {name: array.dtype.kind for name, array in arrays.items()}
    if kinds != expected:
        raise InputError(f"{path} does not hold predictions: it has other arrays", REMEDY)
    names, labels = arrays["names"], arrays["labels"]
    shapes = {arrays[name].shape for name in ("first", "second", "margin")}
    if names.ndim != 1 or labels.ndim != 1 or shapes != {(len(names), len(labels))}:
        raise InputError(
            f"{path} does not hold predictions: for {names.size} files and {labels.size} images "
            f"it has {' and '.join('×'.join(map(str, shape)) for shape in sorted(shapes))}",
            REMEDY,
        )
    if not np.isfinite(arrays["margin"]).all() or (arrays["margin"] < 0).any():
        raise InputError(f"{path} has margins that are no distances", REMEDY)
    by_name = {
        str(name): TopTwo(
            first=arrays["first"][i].astype(np.int32),
            second=arrays["second"][i].astype(np.int32),
            margin=arrays["margin"][i].astype(np.float32),
        )
        for i, name in enumerate(names)
    }
    return RunPredictions(by_name, labels.astype(np.int64))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file, of a bounded size; nothing in it is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise ValueError(f"it inflates to {size >> 20} MiB")
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as e:  # a damaged file can make zipfile and numpy raise anything
        reason = " ".join(str(e).split()) or type(e).__name__
        raise InputError(f"{path} does not hold predictions: {reason}", REMEDY) from e
