"""A process whose memory is laid out as in the last one, for a compiler that writes its pointers.

The toolkit copies structures with uninitialised fields into its files: in them are addresses of its
process, which the kernel chooses anew for each.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import edgenext

ADDR_NO_RANDOMIZE = 0x0040000
"""The kernel's flag for a process whose addresses are not random."""
CURRENT = 0xFFFFFFFF
"""Asks for the flags, and changes none."""
HERE = "/proc/self/cwd"
"""The working folder under a name that is the same in each."""
RESTARTED = "--restarted"


def restart(module: str, *arguments: str) -> None:
    """Run a module in this process's place, with fixed addresses; return in the new one.

    The module starts in the working folder, and with no variables but those given here, since their
    lengths move what is in memory behind them.

    Args:
        module: its name; it calls this function.
        arguments: of the module, which get `RESTARTED` behind them.
    """
    if sys.argv[-1] == RESTARTED:
        return
    package = Path("edgenext")
    if not package.exists():
        package.symlink_to(Path(edgenext.__file__).parent.resolve(), target_is_directory=True)
    personality(ADDR_NO_RANDOMIZE)
    variables = {
        "GLIBC_TUNABLES": "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0",  # zeroed memory
        "HOME": HERE,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": HERE,
        "TMPDIR": HERE,
        "TQDM_DISABLE": "1",
    }
    command = [sys.executable, "-m", module, *arguments, RESTARTED]
    os.execve(sys.executable, command, variables)  # noqa: S606 - this module, and no shell


def personality(flags: int) -> int:
    """Set the flags of this process, and return the old ones; −1 if the kernel refuses."""
    result: int = ctypes.CDLL(None).personality(ctypes.c_ulong(flags))
    return result


def addresses_are_fixed() -> bool:
    """Whether the addresses of this process are the same in each: some containers forbid it."""
    return bool(personality(CURRENT) & ADDR_NO_RANDOMIZE)
