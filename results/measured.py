"""The JSON files of this folder, as the tables need them."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Timing:
    """Latency of one file; `speed` is that of the plain export divided by its own."""

    p50_ms: float
    speed: float
    ci95: tuple[float, float] | None
    size_bytes: int
    valid: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Latency:
    """One interleaved benchmark: the files of a network by name, and what it was made on."""

    model: str
    environment: Row
    threads: int
    noise_floor: float | None
    """None: intervals are over the rounds alone."""
    timings: dict[str, Timing]


class Machine:
    """The results of one machine.

    Args:
        path: its JSON file.
        names: the contents of `names.toml`.
    """

    def __init__(self, path: Path, names: Row) -> None:
        self.name = path.stem
        self.results: Row = json.loads(path.read_text("utf-8"))
        self.about: Row = names["machines"][path.stem]
        self._artifacts: dict[str, str] = names["artifacts"]

    @cached_property
    def latency(self) -> dict[str, Latency]:
        """Benchmarks by network."""
        return {entry["model"]: self._latency(entry) for entry in self.results["latency"]}

    def measured(self, model: str) -> str:
        """The date of a network's benchmark."""
        dates = self.results.get("dates", {})
        return str(dates.get("latency") or self.about["measured"][model])

    def _latency(self, entry: Row) -> Latency:
        rows = entry["rows"] if "rows" in entry else self._rows(entry)
        return Latency(
            model=entry["model"],
            environment=entry.get("environment") or self.results["environment"],
            threads=rows[0]["threads"],
            noise_floor=entry.get("noise_floor"),
            timings={row["name"]: timing(row) for row in rows},
        )

    def _rows(self, entry: Row) -> list[Row]:
        """The rows of the earlier layout, in which speeds stand apart."""
        speeds = {s["b"]: s for s in entry["speed"]}
        return [
            result
            | {
                "name": self._artifacts[result["artifact"].split("-256-")[1]],
                "size_bytes": entry["size_bytes"][result["artifact"]],
                "speed": speeds.get(result["artifact"], {}).get("median", 1.0),
                "ci95": speeds.get(result["artifact"], {}).get("ci95"),
            }
            for result in entry["results"]
        ]


def timing(row: Row) -> Timing:
    """The latency that a row of results holds."""
    return Timing(
        p50_ms=row["p50_ms"] if "p50_ms" in row else row["latency_ms"]["p50"],
        speed=row["speed"],
        ci95=tuple(row["ci95"]) if row["ci95"] else None,
        size_bytes=row["size_bytes"],
        valid=row["valid"],
        reasons=tuple(row["reasons"]),
    )


def read_names(folder: Path) -> Row:
    """The contents of `names.toml`."""
    return tomllib.loads((folder / "names.toml").read_text("utf-8"))


def read_machines(folder: Path, names: Row) -> dict[str, Machine]:
    """All machines by name, in the order of `names.toml`."""
    return {name: Machine(folder / f"{name}.json", names) for name in names["machines"]}
