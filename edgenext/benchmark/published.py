"""Latencies that other authors published."""

from __future__ import annotations

from collections.abc import Iterable

from edgenext.schema import Published
from edgenext.system.packaged import packaged_toml


def published_latencies(kind: str, networks: Iterable[tuple[str, str]]) -> tuple[Published, ...]:
    """Published latencies on a kind of device, for networks given by architecture and size."""
    requested = set(networks)
    rows = (
        Published(**row) for row in packaged_toml("edgenext.benchmark", "published.toml")["latency"]
    )
    return tuple(row for row in rows if row.kind == kind and (row.arch, row.size) in requested)
