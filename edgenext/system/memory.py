"""Memory use of this process."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

MIB = 2**20


def empty_rss() -> int:
    """Resident memory in bytes before a model is loaded; resets the peak where possible.

    Importing a runtime has a peak of its own. Linux can reset it, so that `peak_rss` counts only
    what comes later.
    """
    import psutil

    rss = int(psutil.Process().memory_info().rss)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return rss


def peak_rss() -> int:
    """Peak resident memory of this process in bytes.

    On Linux read from VmHWM, because ru_maxrss starts at the parent's peak there.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import psutil

    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):
        return int(memory.peak_wset)
    import resource

    # Bytes on macOS, KiB elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
