"""Range certificates: what a file can compute, for every image."""

from __future__ import annotations

from typing import Literal

from edgenext.schema.base import Record, SubsetInfo


class RangeRow(Record):
    """A tensor, or the sums inside an operator, and the type that holds it.

    `tensor` is the tensor, or the output of the operator. `bound` is the largest absolute value for
    any image, None if there is no bound; of an int32 sum, in its own units. `share` is bound /
    limit. `measured` is the largest absolute value on the calibration images, None if it was not
    measured; `overflowed` if it was infinite or NaN there. A sum is measured when it is complete.
    """

    tensor: str
    node: str
    operator: str
    kind: Literal["value", "accumulator"]
    type: Literal["float16", "bfloat16", "float32", "float64", "int32"]
    limit: float
    bound: float | None
    share: float | None
    measured: float | None = None
    overflowed: bool = False

    @property
    def proven(self) -> bool:
        """Whether no image can leave the type."""
        return self.share is not None and self.share <= 1


class RangeReport(Record):
    """`check --range --json`: whether anything that a file computes can leave its type.

    `half` is whether the target computes the file's floats in float16: the limits are float16's.
    `rows` are sorted: those without a bound first, then the nearest to the limit. `unknown` are the
    operators of which nothing is known: their outputs have no bound. `images` are those that
    `measured` is from.
    """

    artifact: str
    sha256: str
    format: str
    scheme: str
    target: str
    half: bool
    proven: bool
    rows: tuple[RangeRow, ...]
    unknown: tuple[str, ...] = ()
    n: int = 0
    images: SubsetInfo | None = None
    seconds: float

    @property
    def unproven(self) -> tuple[RangeRow, ...]:
        """The rows for which no proof was found."""
        return tuple(row for row in self.rows if not row.proven)
