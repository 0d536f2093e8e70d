"""What stands beside weights: a JSON with their evaluation transform, and labels files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edgenext.errors import CheckpointError, DataError, UsageError
from edgenext.models.zoo import check_size
from edgenext.schema import EvalTransform


class Sidecar(BaseModel):
    """The keys that are read of `<stem>.json` beside a weights file; all may be absent."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    arch: str | None = None
    num_classes: int | None = None
    eval: dict[str, Any] | None = None
    labels: tuple[str, ...] | None = None


def sidecar_path(weights: Path) -> Path:
    """Where the JSON of a weights file stands."""
    return weights.with_suffix(".json")


def read_sidecar(weights: Path) -> Sidecar:
    """The JSON beside a weights file; an empty one where there is none.

    Raises:
        CheckpointError: it cannot be read or is not what it should be.
    """
    path = sidecar_path(weights)
    try:
        sidecar = Sidecar.model_validate(json.loads(path.read_bytes()))
        _transform(EvalTransform(), sidecar.eval or {})
    except FileNotFoundError:
        return Sidecar()
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole file"
        raise CheckpointError(f"{path} is malformed at {where}: {first['msg']}") from e
    except OSError as e:
        raise CheckpointError(f"cannot read {path}: {e.strerror}") from e
    except UsageError as e:
        raise CheckpointError(f"{path} is malformed: {e.message}") from e
    except ValueError as e:
        raise CheckpointError(f"{path} is not JSON: {e}") from e
    return sidecar


def transform(
    base: EvalTransform, sidecar: Sidecar, size: int | None, crop_pct: float | None
) -> EvalTransform:
    """The evaluation transform: `base`, what the sidecar says of it, then the explicit values.

    Raises:
        UsageError: an explicit value that cannot be.
    """
    explicit = {"size": size, "crop_pct": crop_pct}
    said = _transform(base, sidecar.eval or {})
    return _transform(said, {k: v for k, v in explicit.items() if v is not None})


def _transform(base: EvalTransform, changes: dict[str, Any]) -> EvalTransform:
    """`base` with the changes it has fields for.

    Raises:
        ValidationError: a value of another type.
        UsageError: a value out of range.
    """
    known = {k: v for k, v in changes.items() if k in EvalTransform.model_fields}
    out = EvalTransform.model_validate(base.model_dump() | known)
    check_size(out.size, out.size)
    if not 0 < out.crop_pct <= 1:
        raise UsageError(f"crop_pct {out.crop_pct} is not above 0 and at most 1")
    if not all(math.isfinite(v) for v in (*out.mean, *out.std)) or min(out.std) <= 0:
        raise UsageError("mean and std must be finite and std above 0")
    return out


def read_labels(path: Path) -> tuple[str, ...]:
    """The class labels of a file, one a line; of `wnid<TAB>words` the wnid.

    Raises:
        DataError: it cannot be read, is not text, or has an empty line among the others.
    """
    try:
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    except OSError as e:
        raise DataError(f"cannot read the labels file {path}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise DataError(f"the labels file {path} is not UTF-8 text") from e
    labels = tuple(line.split("\t")[0].strip() for line in lines)
    if not labels or "" in labels:
        empty = labels.index("") + 1 if labels else 1
        raise DataError(f"the labels file {path} has an empty label in line {empty}")
    return labels
