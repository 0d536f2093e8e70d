"""Which file is the fastest on this machine."""

from __future__ import annotations

from edgenext.schema.artifact import ExportResult
from edgenext.schema.base import Record
from edgenext.schema.latency import Environment


class TimedFile(Record):
    """A file that was measured for `--target auto`.

    `speed` is relative to the first file, with its 95 % interval, which includes the noise floor;
    the first has none.
    """

    file: str
    target: str
    scheme: str
    p50_ms: float
    speed: float
    speed_ci95: tuple[float, float] | None
    valid: bool


class FastestReport(Record):
    """`--json` of `export` and `quantize` with `--target auto`: what was measured, and kept.

    `missing` maps targets that were left out to what installs their converter or runtime.
    `noise_floor` is that of the benchmark, as in `NoiseFloor`.
    """

    chosen: ExportResult
    files: tuple[TimedFile, ...]
    missing: dict[str, str]
    environment: Environment | None
    noise_floor: float
    sentence: str
