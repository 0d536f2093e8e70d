"""The state of this machine while a program on it measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgenext.benchmark.machine import MachineMonitor
from edgenext.devices.protocol import ConditionsEvent, Event, ReadyEvent, RoundEvent


class RoundsWatch:
    """Watches this machine from the last `ready` of a runner to the end of its rounds.

    Args:
        cpus: the logical CPUs measured on; empty for all.
        processes: those whose time does not count as other load, once all artifacts are ready.
        places: how many `ready` come before the first round.
    """

    def __init__(
        self, cpus: Sequence[int], processes: Callable[[], Sequence[int]], places: int
    ) -> None:
        self._cpus, self._processes, self._places = cpus, processes, places
        self._monitor: MachineMonitor | None = None
        self.conditions: ConditionsEvent | None = None
        """The state during the rounds; None before their end."""

    def note(self, event: Event) -> None:
        """Take an event, as it comes."""
        if isinstance(event, ReadyEvent):
            self._places -= 1
            if self._places == 0:
                self._monitor = MachineMonitor(self._cpus, self._processes())
        elif self._monitor and isinstance(event, RoundEvent):
            if event.second:  # the last of each round
                self._monitor.note_clock()
        elif self._monitor:
            state = self._monitor.conditions()
            self.conditions = ConditionsEvent(
                cores=state.cores,
                others=state.others,
                stolen=state.stolen,
                clocks_mhz=state.clocks_mhz,
            )
            self._monitor = None
