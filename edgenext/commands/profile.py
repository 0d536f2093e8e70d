"""Where the time of an inference goes, by operator and site."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgenext.benchmark.environment import environment
from edgenext.commands.context import Context
from edgenext.errors import UsageError
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.formats.onnx.profile import NodeTime, median_ms, node_times, peaks
from edgenext.formats.session import ArtifactSession
from edgenext.schema import OperatorTime, ProfileReport


def profile(
    artifact: str | Path, *, threads: int = 1, n: int = 50, context: Context | None = None
) -> ProfileReport:
    """The time of each operator of an ONNX file in onnxruntime: see `edgenext profile`.

    Args:
        artifact: path of the file.
        threads: inside an operator.
        n: inferences to average over.
        context: what was loaded before.

    Raises:
        UsageError: a file that onnxruntime does not run, or a number below 1.
        RuntimeFailedError: onnxruntime cannot load or run it.

    >>> report = profile(Path("edgenext_xx_small-32-fp32.onnx"), n=3)
    >>> sum(row.share for row in report.rows) > 0.99, report.rows[0].ms >= report.rows[-1].ms
    (True, True)
    """
    for name, value in (("--threads", threads), ("-n", n)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, not {value}")
    file = open_artifact(artifact)
    if file.manifest.format != "onnx":
        raise UsageError(
            f"{file.path} is a {file.manifest.format} file, and profiles are made of ONNX files",
            "Give the ONNX file of the same network",
        )
    progress = (context or Context()).progress
    inputs = {file.manifest.input.name: _random_input(file)}
    rates = peaks(threads)
    progress("profiling", 0, 0)
    nodes = node_times(file.path, inputs, threads, n)
    total = sum(node.ms for node in nodes)
    rows = (_row(node, total, rates) for node in nodes)
    return ProfileReport(
        artifact=file.name,
        sha256=file.manifest.sha256,
        runtime="onnxruntime",
        cpu=environment().cpu,
        threads=threads,
        n=n,
        p50_ms=median_ms(file.path, inputs, threads, n),
        total_ms=total,
        peaks=rates,
        rows=tuple(sorted(rows, key=lambda row: -row.ms)),
    )


def _random_input(file: Artifact) -> np.ndarray:
    """A batch of random images as the file takes it; a batch of any size is one image."""
    spec, size = file.manifest.input, file.manifest.eval.size
    images = max(spec.shape[0], 1)
    pixels = np.random.default_rng(0).integers(0, 256, (images, size, size, 3), np.uint8)
    return ArtifactSession(file.manifest).prepare(pixels)


def _row(node: NodeTime, total: float, rates: dict[str, float]) -> OperatorTime:
    from edgenext.graph.sites import module_path

    peak = rates["int8" if node.integer else "float32"]
    of_peak = node.macs / (node.ms / 1000) / peak if node.macs and node.ms else None
    return OperatorTime(
        node=node.name,
        operator=node.operator,
        site=module_path(node.name) if node.name.startswith("/") else "",
        ms=node.ms,
        share=node.ms / total if total else 0.0,
        macs=node.macs,
        of_peak=of_peak,
    )
