"""Latencies that others published."""

from __future__ import annotations

from collections.abc import Iterable

from edgenext.schema import Published
from edgenext.system.packaged import packaged_toml


def published(kind: str, files: Iterable[tuple[str, str]]) -> tuple[Published, ...]:
    """What is published of a kind of device for networks given by architecture and size."""
    wanted = set(files)
    rows = (
        Published(**row) for row in packaged_toml("edgenext.benchmark", "published.toml")["latency"]
    )
    return tuple(row for row in rows if row.kind == kind and (row.arch, row.size) in wanted)
