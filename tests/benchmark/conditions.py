"""What the tests of validity start from: a ready worker on a quiet machine."""

from __future__ import annotations

from edgenext.benchmark.machine import Conditions
from edgenext.benchmark.worker import Ready

QUIET = Conditions(cores=2)
READY = Ready(
    runtime="r",
    evidence="host",
    batch=1,
    burst=3,
    cpus=(0,),
    load_ms=1.0,
    first_ms=1.0,
    warmup=12,
    settled=True,
)
