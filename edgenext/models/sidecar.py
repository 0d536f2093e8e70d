"""Files that accompany weights: the JSON sidecar with their transform, and labels files."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edgenext.errors import CheckpointError, DataError, UsageError
from edgenext.models.labels import label_of, name_of, require_distinct
from edgenext.models.zoo import check_size
from edgenext.options import with_exif
from edgenext.schema import Division, EvalTransform, Exif
from edgenext.system.parsing import first_error, read_json
from edgenext.system.reading import read_text


class Sidecar(BaseModel):
    """The keys that are read from `<stem>.json` beside a weights file; all are optional."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    arch: str | None = None
    num_classes: int | None = None
    eval: dict[str, Any] | None = None
    labels: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    division: Division | None = None


def sidecar_path(weights: Path) -> Path:
    """The path of a weights file's JSON sidecar."""
    return weights.with_suffix(".json")


def read_sidecar(weights: Path) -> Sidecar:
    """The JSON sidecar of a weights file; an empty one if there is none.

    Raises:
        CheckpointError: it cannot be read, or is malformed.
    """
    path = sidecar_path(weights)
    try:
        if not os.path.lexists(path):
            return Sidecar()
        sidecar = Sidecar.model_validate(read_json(path, CheckpointError))
        _override(EvalTransform(), sidecar.eval or {})
    except ValidationError as e:
        where = " at" if e.errors()[0]["loc"] else ":"
        raise CheckpointError(f"{path} is malformed{where} {first_error(e)}") from e
    except UsageError as e:
        raise CheckpointError(f"{path} is malformed: {e.message}") from e
    return sidecar


def evaluation_transform(
    base: EvalTransform,
    sidecar: Sidecar,
    size: int | None,
    crop_pct: float | None,
    exif: Exif | None = None,
) -> EvalTransform:
    """The evaluation transform: `base`, updated by the sidecar and then by the explicit values.

    Raises:
        UsageError: an explicit value is out of range.
    """
    explicit = {"size": size, "crop_pct": crop_pct}
    transform = with_exif(_override(base, sidecar.eval or {}), exif)
    return _override(transform, {k: v for k, v in explicit.items() if v is not None})


def _override(base: EvalTransform, changes: dict[str, Any]) -> EvalTransform:
    """`base` with the changes that are fields of it.

    Raises:
        ValidationError: a value of another type.
        UsageError: a value out of range.
    """
    known = {k: v for k, v in changes.items() if k in EvalTransform.model_fields}
    out = EvalTransform.model_validate(base.model_dump() | known)
    check_size(out.size, out.size)
    if not 0 < out.crop_pct <= 1:
        raise UsageError(f"crop_pct must be above 0 and at most 1, not {out.crop_pct}")
    if not all(math.isfinite(v) for v in (*out.mean, *out.std)) or min(out.std) <= 0:
        raise UsageError("mean and std must be finite, and std above 0")
    return out


def read_labels(path: Path) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The class labels in a file, one per line, and what people call the classes.

    Of a line `wnid words` the label is the wnid and the words are the name: see `label_of` and
    `name_of`. The names are None if no line has words; a line without any is called by its label.

    Raises:
        DataError: it cannot be read, is not UTF-8 text, has an empty label, or has one twice.
    """
    lines = read_text(path, DataError).rstrip().splitlines()
    labels = tuple(map(label_of, lines))
    if not labels or "" in labels:
        line_number = labels.index("") + 1 if labels else 1
        raise DataError(f"the labels file {path} has an empty label in line {line_number}")
    require_distinct(labels, f"the labels file {path}", "lines", DataError)
    names = tuple(map(name_of, lines))
    if not any(names):
        return labels, None
    return labels, tuple(name or label for name, label in zip(names, labels, strict=True))
