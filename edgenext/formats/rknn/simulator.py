"""Rockchip's simulator in a process of its own.

`python -m edgenext.formats.rknn.simulator PLATFORM`, started in a folder with a graph, builds the
graph first, since the simulator takes no file that is built already, and answers with what it has
built. Every array that follows is an input, N×3×H×W float32, and is answered with the outputs.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from edgenext.errors import RuntimeFailedError
from edgenext.formats.rknn.fixed_addresses import addresses_are_fixed, restart
from edgenext.formats.rknn.layers import layers
from edgenext.formats.rknn.toolkit import LOG, build
from edgenext.system.memory import MIB, peak_rss
from edgenext.system.messages import error_facts, receive, send
from edgenext.system.processes import die_with_parent

MODULE = "edgenext.formats.rknn.simulator"


def serve(requests: IO[bytes], answers: IO[bytes], platform: str) -> int:
    """Build the graph in the working folder at the first request, and run it at the others."""
    rknn: Any = None
    while message := receive(requests):
        try:
            if rknn is None:
                rknn = build(platform)
                send(answers, _facts(), {})
            else:
                values = _run(rknn, message[1][""])
                send(answers, {}, {str(i): value for i, value in enumerate(values)})
        except Exception as e:  # noqa: BLE001 - the parent reports any error of the toolkit
            send(answers, {"error": error_facts(e)}, {})
    return 0


def _facts() -> dict[str, Any]:
    log = Path(LOG).read_text(errors="replace")
    return {
        "tool": f"rknn-toolkit2 {version('rknn-toolkit2')}",
        "layers": list(layers(log)),
        "fixed_addresses": addresses_are_fixed(),
        "peak_mb": peak_rss() / MIB,
    }


_started: set[int] = set()


def _run(rknn: Any, prepared: Any) -> list[Any]:
    if id(rknn) not in _started:
        if rknn.init_runtime():
            raise RuntimeFailedError("Rockchip's simulator does not start")
        _started.add(id(rknn))
    values: list[Any] = rknn.inference(inputs=[prepared], data_format=["nchw"])
    if values is None:
        raise RuntimeFailedError("Rockchip's simulator gives no output")
    return values


def main(platform: str) -> int:
    """Serve the parent on stdin and stdout; what the toolkit prints goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what ends
    die_with_parent()
    restart(MODULE, platform)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return serve(sys.stdin.buffer, answers, platform)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
