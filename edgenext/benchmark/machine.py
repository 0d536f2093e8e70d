"""The state of the machine during a measurement."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from edgenext.benchmark.environment import clock_mhz, quota_count, throttle_count

BUSY = ("user", "nice", "system", "irq", "softirq")


@dataclass(frozen=True)
class MachineConditions:
    """The state of the machine during a measurement.

    `others` is the load of other programs in cores, `stolen` the share of the pinned cores' time
    that a hypervisor gave to other machines, `throttled` how often cores were slowed for heat,
    `quota` how often a container's CPU quota stopped the measurement, `clocks_mhz` the pinned
    cores' clock after each round where it can be read.
    """

    cores: int
    others: float = 0.0
    stolen: float = 0.0
    throttled: int = 0
    quota: int = 0
    clocks_mhz: tuple[float, ...] = ()


class MachineMonitor:
    """Monitors the machine from its construction to a call of `conditions`.

    Args:
        cpus: the logical CPUs measured on; empty for all.
        pids: processes whose time does not count as other load, besides this process.
    """

    def __init__(self, cpus: Sequence[int], pids: Sequence[int]) -> None:
        self._cpus = tuple(cpus)
        self._own = [psutil.Process(), *(psutil.Process(pid) for pid in pids)]
        self._clocks: list[float] = []
        self._start = self._read()

    def note_clock(self) -> None:
        """Record the clock of the cores; called once a round."""
        clock = clock_mhz(self._cpus)
        if clock is not None:
            self._clocks.append(clock)

    def conditions(self) -> MachineConditions:
        """The conditions since the monitor was constructed."""
        wall, busy, own, steal, throttled, quota = (
            now - then for now, then in zip(self._read(), self._start, strict=True)
        )
        cores = psutil.cpu_count() or 1
        wall = max(wall, 1e-9)
        return MachineConditions(
            cores=cores,
            others=max(busy - own, 0.0) / wall,
            stolen=max(steal, 0.0) / (wall * (len(self._cpus) or cores)),
            throttled=int(throttled),
            quota=int(quota),
            clocks_mhz=tuple(self._clocks),
        )

    def _read(self) -> tuple[float, float, float, float, int, int]:
        """Wall, busy, own and stolen seconds, and the counts of throttling and of quota stops."""
        cores = psutil.cpu_times(percpu=True)
        pinned = [cores[cpu] for cpu in self._cpus if cpu < len(cores)] or cores
        own = 0.0
        for process in self._own:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                own += times.user + times.system
        return (
            time.monotonic(),
            sum(getattr(cpu, field, 0.0) for cpu in cores for field in BUSY),
            own,
            sum(getattr(cpu, "steal", 0.0) for cpu in pinned),
            throttle_count(),
            quota_count(),
        )
