"""What else the machine did while something was measured on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from edgenext.benchmark.environment import clock_mhz, quota_count, throttle_count

BUSY = ("user", "nice", "system", "irq", "softirq")


@dataclass(frozen=True)
class Conditions:
    """The state of the machine during a measurement.

    `others` is how many cores' worth of time other programs used, `stolen` the share of the
    pinned cores' time that a hypervisor gave to somebody else, `throttled` how often cores were
    slowed for heat, `quota` how often a container's CPU quota held us back, `clocks_mhz` the
    pinned cores' clock after each round where it can be read.
    """

    cores: int
    others: float = 0.0
    stolen: float = 0.0
    throttled: int = 0
    quota: int = 0
    clocks_mhz: tuple[float, ...] = ()


class Watch:
    """Watches the machine from its making until `conditions`.

    Args:
        cpus: the logical CPUs measured on; empty for all.
        pids: the processes whose time is not other load; this one's never is.
    """

    def __init__(self, cpus: Sequence[int], pids: Sequence[int]) -> None:
        self._cpus = tuple(cpus)
        self._own = [psutil.Process(), *(psutil.Process(pid) for pid in pids)]
        self._clocks: list[float] = []
        self._start = self._read()

    def note_clock(self) -> None:
        """Read the clock of the cores, once a round."""
        clock = clock_mhz(self._cpus)
        if clock is not None:
            self._clocks.append(clock)

    def conditions(self) -> Conditions:
        """What happened since the watch began."""
        wall, busy, own, steal, throttled, quota = (
            now - then for now, then in zip(self._read(), self._start, strict=True)
        )
        cores = psutil.cpu_count() or 1
        wall = max(wall, 1e-9)
        return Conditions(
            cores=cores,
            others=max(busy - own, 0.0) / wall,
            stolen=max(steal, 0.0) / (wall * (len(self._cpus) or cores)),
            throttled=int(throttled),
            quota=int(quota),
            clocks_mhz=tuple(self._clocks),
        )

    def _read(self) -> tuple[float, float, float, float, int, int]:
        """Wall, busy, own and stolen seconds, and how often heat and quotas slowed us, so far."""
        each = psutil.cpu_times(percpu=True)
        mine = [each[cpu] for cpu in self._cpus if cpu < len(each)] or each
        own = 0.0
        for process in self._own:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                own += times.user + times.system
        return (
            time.monotonic(),
            sum(getattr(cpu, field, 0.0) for cpu in each for field in BUSY),
            own,
            sum(getattr(cpu, "steal", 0.0) for cpu in mine),
            throttle_count(),
            quota_count(),
        )
