"""Where the time of an inference goes, by operator and site."""

from __future__ import annotations

from edgenext.schema.base import Record


class OperatorTime(Record):
    """One operator of the graph that the runtime executes.

    `ms` is its time in an inference, `share` that part of all operators. `site` is the network's
    module that it belongs to, empty for what the runtime added. `macs` are its multiply-adds, None
    where they are not known; `of_peak` is their rate over the measured peak of their type.
    """

    node: str
    operator: str
    site: str
    ms: float
    share: float
    macs: int | None = None
    of_peak: float | None = None


class ProfileReport(Record):
    """The operators of one artifact in its runtime, the slowest first; see `edgenext profile`.

    `total_ms` is the sum of their times, which profiling lengthens a little; `p50_ms` the median of
    whole inferences without it. `peaks` are this machine's rates in multiply-adds a second, by
    type, of a matrix product in the same runtime.
    """

    artifact: str
    sha256: str
    runtime: str
    cpu: str
    threads: int
    n: int
    p50_ms: float
    total_ms: float
    peaks: dict[str, float]
    rows: tuple[OperatorTime, ...]

    @property
    def by_operator(self) -> dict[str, float]:
        """Milliseconds of each type of operator, the slowest first."""
        times: dict[str, float] = {}
        for row in self.rows:
            times[row.operator] = times.get(row.operator, 0.0) + row.ms
        return dict(sorted(times.items(), key=lambda item: -item[1]))
