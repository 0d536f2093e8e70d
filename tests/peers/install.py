"""Make the root of the peers: PYTHONPATH=tests python -m peers.install.

It exits with 0 when the root exists, and with 77 and one line when this machine cannot have it.
"""

from __future__ import annotations

import sys

from peers.host import UnavailableError, register_emulator, require
from peers.roots import make_root

SKIPPED = 77


def main() -> int:
    """Make it, or print the reason why not."""
    try:
        require()
        make_root()
        register_emulator()
    except UnavailableError as e:
        print(f"no emulated devices for the tests: {e}", file=sys.stderr)  # noqa: T201
        return SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
