"""Reading a run folder: its summary, its device results and, if present, its logits."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from edgenext.errors import InputError
from edgenext.formats.session import Logits
from edgenext.schema import BenchReport, RunSummary

SUMMARY = "run.json"
LOGITS = "logits.npz"
LABELS = "labels"
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
    if not path.is_file():
        raise InputError(
            f"{run_dir} contains no {SUMMARY}",
            "Give the folder of a finished run; `edgenext run` makes one",
        )
    remedy = "Run `edgenext run` again: it repeats only what is missing"
    try:
        text = path.read_bytes()
        summary = RunSummary.model_validate_json(text)
    except OSError as e:
        raise InputError(f"cannot read {path}: {e.strerror}") from e
    except ValidationError as e:
        first = e.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        reason = f"{field}: {' '.join(first['msg'].split())}"
        raise InputError(f"{path} is not the summary of a run: {reason}", remedy) from e
    if summary.schema_version != 1:
        raise InputError(
            f"{path} has schema version {summary.schema_version}; this program reads version 1",
            "Use the version of edgenext that wrote it",
        )
    return summary.model_copy(update={"devices": _devices(run_dir / DEVICES)})


def _devices(folder: Path) -> tuple[BenchReport, ...]:
    """The results that `bench --device … -o` wrote into the run's `devices`, by file name."""
    reports = []
    for path in sorted(folder.glob("*.json")):
        try:
            text = path.read_bytes()
            report = BenchReport.model_validate_json(text)
        except (OSError, ValidationError) as e:
            reason = e.errors()[0]["msg"] if isinstance(e, ValidationError) else e.strerror
            raise InputError(
                f"{path} is not the result of a device: {reason}",
                "Measure again, or remove the file",
            ) from e
        reports.append(report)
    return tuple(reports)


def load_logits(run_dir: Path) -> RunLogits | None:
    """The `logits.npz` of a run folder, or None if there is none.

    Raises:
        InputError: the file is damaged, or its arrays do not fit together.
    """
    path = run_dir / LOGITS
    if not path.is_file():
        return None
    remedy = "Delete it to write the report without it, or run `edgenext run` again"
    try:
        # numpy does not close a file that it fails to read.
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array, not an archive of arrays")
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise InputError(f"{path} does not hold logits: {e}", remedy) from e
    labels = arrays.pop(LABELS, None)
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"{path} does not hold an integer label for each image", remedy)
    for name, values in arrays.items():
        if values.ndim != 2 or len(values) != len(labels) or values.dtype.kind != "f":
            shape = "×".join(map(str, values.shape))
            raise InputError(
                f"{path} has logits of shape {shape} for {name} and {len(labels)} labels", remedy
            )
    by_name = {name: values.astype(np.float32, copy=False) for name, values in arrays.items()}
    return RunLogits(by_name, labels.astype(np.int64, copy=False))
