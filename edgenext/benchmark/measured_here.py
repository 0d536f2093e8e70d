"""Speeds that runs measured on this machine, kept for the advice of later commands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from edgenext.errors import EdgenextError, InputError
from edgenext.schema import BenchReport, Environment, Record
from edgenext.system.files import cache_folder, write_bytes
from edgenext.system.locks import hold_file
from edgenext.system.reading import read_file


class MeasuredSpeed(Record):
    """A file's speed relative to the plain FP32 export of the same network, in one benchmark."""

    cpu: str
    isa: tuple[str, ...]
    target: str
    scheme: str
    arch: str
    size: str
    threads: int
    speed: float
    ci95: tuple[float, float]
    date: str

    @property
    def place(self) -> tuple[object, ...]:
        """What a newer measurement replaces."""
        return self.cpu, self.isa, self.target, self.scheme, self.arch, self.size, self.threads


_SPEEDS = TypeAdapter(tuple[MeasuredSpeed, ...])


def speeds_file() -> Path:
    """The file of all measured speeds, in the cache."""
    return cache_folder("machine") / "speeds.json"


def measured_speeds(env: Environment) -> tuple[MeasuredSpeed, ...]:
    """The speeds that were measured on this CPU; a damaged file holds none."""
    return tuple(row for row in _read() if (row.cpu, row.isa) == (env.cpu, env.isa))


def remember(report: BenchReport, targets: Mapping[str, str]) -> None:
    """Keep the valid speeds of a benchmark whose first artifact is the plain FP32 export.

    A cache that cannot be written is ignored.

    Args:
        report: of a benchmark on this machine.
        targets: the target of each artifact that counts, by its name in the report.
    """
    env = report.environment
    if env is None:
        return
    ratios = {name: ratio for name, ratio in report.speeds.items() if ratio.valid}
    rows = [
        MeasuredSpeed(
            cpu=env.cpu,
            isa=env.isa,
            target=targets[result.artifact],
            scheme=result.scheme,
            arch=result.arch,
            size=result.size,
            threads=result.threads,
            speed=round(ratios[result.artifact].median, 3),
            ci95=ratios[result.artifact].ci95,
            date=date.today().isoformat(),
        )
        for result in report.results
        if result.artifact in targets and result.artifact in ratios
    ]
    with contextlib.suppress(EdgenextError, OSError):
        _add(rows)


def _add(rows: Iterable[MeasuredSpeed]) -> None:
    path = speeds_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with hold_file(path.with_suffix(".lock"), f"{path} is being written"):
        kept = {row.place: row for row in (*_read(), *rows)}
        write_bytes(path, _SPEEDS.dump_json(tuple(kept.values()), indent=1) + b"\n")


def _read() -> tuple[MeasuredSpeed, ...]:
    try:
        return _SPEEDS.validate_json(read_file(speeds_file()))
    except (InputError, ValidationError):
        return ()
