"""Where the time of an inference goes, by operator and site."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgenext.benchmark.environment import environment
from edgenext.commands.context import Context
from edgenext.errors import UsageError
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.formats.isolated_session import require_no_crash
from edgenext.formats.profile import NodeTime, RuntimeProfile, bandwidth
from edgenext.formats.runtimes import profiler_of
from edgenext.formats.session import ArtifactSession
from edgenext.schema import OperatorTime, ProfileReport


def profile(
    artifact: str | Path, *, threads: int = 1, n: int = 50, context: Context | None = None
) -> ProfileReport:
    """The time of each operator of a file in its runtime: see `edgenext profile`.

    Args:
        artifact: path of the file.
        threads: inside an operator.
        n: inferences to average over.
        context: what was loaded before.

    Raises:
        UsageError: a file whose runtime does not say how long an operator takes, or a number
            below 1.
        RuntimeFailedError: its runtime cannot load or run it.

    >>> report = profile(Path("edgenext_xx_small-32-fp32.onnx"), n=3)
    >>> sum(row.share for row in report.rows) > 0.99, report.rows[0].ms >= report.rows[-1].ms
    (True, True)
    """
    for name, value in (("--threads", threads), ("-n", n)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")
    file = open_artifact(artifact)
    profiler = profiler_of(file)
    context = context or Context()
    context.progress("profiling", 0, 0)
    require_no_crash(file)
    profiled: RuntimeProfile = profiler.profile(file, _random_input(file), threads, n)
    total = sum(node.ms for node in profiled.nodes)
    copied = bandwidth(threads)
    rows = (_row(node, total, profiled, copied) for node in profiled.nodes)
    return ProfileReport(
        artifact=file.name,
        sha256=file.manifest.sha256,
        runtime=profiled.runtime,
        cpu=environment().cpu,
        threads=threads,
        n=n,
        p50_ms=profiled.p50_ms,
        total_ms=total,
        peaks=profiled.peaks,
        rows=tuple(sorted(rows, key=lambda row: -row.ms)),
        bandwidth=copied,
    )


def _random_input(file: Artifact) -> np.ndarray:
    """A batch of random images as the file takes it; a batch of any size is one image."""
    spec, size = file.manifest.input, file.manifest.eval.size
    images = max(spec.shape[0], 1)
    pixels = np.random.default_rng(0).integers(0, 256, (images, size, size, 3), np.uint8)
    return ArtifactSession(file.manifest).prepare(pixels)


def _row(node: NodeTime, total: float, profiled: RuntimeProfile, copied: float) -> OperatorTime:
    peak = profiled.peaks.get(node.precision)
    of_peak = node.macs / (node.ms / 1000) / peak if node.macs and node.ms and peak else None
    return OperatorTime(
        node=node.name,
        operator=node.operator,
        site=node.site,
        ms=node.ms,
        share=node.ms / total if total else 0.0,
        macs=node.macs,
        of_peak=of_peak,
        moved=node.moved,
        limit_ms=profiled.limit_ms(node, copied),
    )
