"""Reading a run folder: its summary, its device results and, if present, its logits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import InputError
from edgenext.formats.session import Logits
from edgenext.schema import BenchReport, RunSummary
from edgenext.system.arrays import read_arrays
from edgenext.system.parsing import read_record

SUMMARY = "run.json"
LOGITS = "logits.npz"
LABELS = "labels"
PREFIX = "logits/"
"""Of the arrays' names, so that a file called `labels` is not one; earlier versions had none."""
DEVICES = "devices"


@dataclass(frozen=True)
class RunLogits:
    """Logits of artifacts on the evaluation images, each N×K float32, and N int64 labels."""

    by_name: dict[str, Logits]
    labels: NDArray[np.int64]


def load_summary(run_dir: Path) -> RunSummary:
    """The `run.json` of a run folder.

    Raises:
        InputError: there is none, or it is not the summary of a finished run.
    """
    path = run_dir / SUMMARY
    if not path.exists():
        raise InputError(
            f"{run_dir} contains no {SUMMARY}",
            "Give the folder of a finished run; `edgenext run` makes one",
        )
    remedy = "Run `edgenext run` again: it repeats only what is missing"
    summary = read_record(path, RunSummary, "the summary of a run", remedy=remedy, version=1)
    return summary.model_copy(update={"devices": _devices(run_dir / DEVICES)})


def _devices(folder: Path) -> tuple[BenchReport, ...]:
    """The results that `bench --device … -o` wrote into the run's `devices`, by file name."""
    remedy = "Measure again, or remove the file"
    return tuple(
        read_record(path, BenchReport, "the result of a device", remedy=remedy)
        for path in sorted(folder.glob("*.json"))
    )


def load_logits(run_dir: Path) -> RunLogits | None:
    """The `logits.npz` of a run folder, or None if there is none.

    Raises:
        InputError: the file is damaged, or its arrays do not fit together.
    """
    path = run_dir / LOGITS
    if not path.exists():
        return None
    remedy = "Delete it to write the report without it, or run `edgenext run` again"
    try:
        arrays = read_arrays(path)
    except InputError as e:
        raise InputError(f"{path} does not hold logits: {e.message}", remedy) from e
    labels = arrays.pop(LABELS, None)
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"{path} does not hold an integer label for each image", remedy)
    for name, values in arrays.items():
        if values.ndim != 2 or len(values) != len(labels) or values.dtype.kind != "f":
            shape = "×".join(map(str, values.shape))
            raise InputError(
                f"{path} has logits of shape {shape} for {name} and {len(labels)} labels", remedy
            )
    by_name = {
        name.removeprefix(PREFIX): values.astype(np.float32, copy=False)
        for name, values in arrays.items()
    }
    return RunLogits(by_name, labels.astype(np.int64, copy=False))
