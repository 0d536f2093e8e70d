"""What the tests of validity start from: a loaded artifact on a quiet machine."""

from __future__ import annotations

from edgenext.benchmark.machine import MachineConditions
from edgenext.benchmark.worker import LoadedArtifact

QUIET = MachineConditions(cores=2)
LOADED = LoadedArtifact(
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
