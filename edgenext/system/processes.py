"""Child processes: what they import, how they end with their parent, how they died."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Any

from edgenext import errors


def package_path() -> str:
    """`PYTHONPATH` with this package first, and then what is on it already."""
    package = str(Path(errors.__file__).parents[1])
    return os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])


def die_with_parent() -> None:
    """Have the kernel kill this process with its parent: one in native code would stay."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        prctl: Any = ctypes.CDLL(None).prctl
        prctl(pr_set_pdeathsig, signal.SIGKILL)


def signal_name(number: int) -> str:
    """The name of a signal, such as SIGSEGV."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
