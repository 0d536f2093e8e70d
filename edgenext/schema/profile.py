"""Where the time of an inference goes, by operator and site."""

from __future__ import annotations

from collections.abc import Callable

from edgenext.schema.base import Record


class OperatorTime(Record):
    """One operator of the graph that the runtime executes.

    `ms` is its time in an inference, `share` that part of all operators. `site` is the network's
    module that it belongs to, empty for what the runtime added. `macs` are its multiply-adds, None
    where they are not known; `of_peak` is their rate over the measured peak of their type.
    `moved` are the bytes that it reads and writes. `limit_ms` is the least that it could take here:
    its multiply-adds at the rate that the runtime's matrix product reaches at that shape, or at the
    peak if that is higher, or its bytes at the bandwidth, whichever takes longer.
    """

    node: str
    operator: str
    site: str
    ms: float
    share: float
    macs: int | None = None
    of_peak: float | None = None
    moved: int | None = None
    limit_ms: float | None = None

    @property
    def gap_ms(self) -> float:
        """How much longer it takes than its limit."""
        return max(self.ms - (self.limit_ms or 0.0), 0.0)


class ProfileReport(Record):
    """The operators of one artifact in its runtime, the slowest first; see `edgenext profile`.

    `total_ms` is the sum of their times, which profiling lengthens a little; `p50_ms` the median of
    whole inferences without it. `peaks` are this machine's rates in multiply-adds a second, by
    type, of a matrix product in the same runtime, `bandwidth` the bytes a second that copying reads
    and writes.
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
    bandwidth: float | None = None

    @property
    def limit_ms(self) -> float:
        """The least milliseconds of all operators together."""
        return sum(row.limit_ms or 0.0 for row in self.rows)

    @property
    def by_operator(self) -> dict[str, float]:
        """Milliseconds of each type of operator, the slowest first."""
        return self._by_operator(lambda row: row.ms)

    @property
    def gap_by_operator(self) -> dict[str, float]:
        """How much longer each type of operator takes than its limit, the largest gap first."""
        return self._by_operator(lambda row: row.gap_ms)

    def _by_operator(self, value: Callable[[OperatorTime], float]) -> dict[str, float]:
        sums: dict[str, float] = {}
        for row in self.rows:
            sums[row.operator] = sums.get(row.operator, 0.0) + value(row)
        return dict(sorted(sums.items(), key=lambda item: -item[1]))
