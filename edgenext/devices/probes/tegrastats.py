"""Lines of `tegrastats`, of every generation of Jetson.

`NAME now/average` in mW up to JetPack 7.1, `NAME nowmW/averagemW/maximummW` from 7.2 on; fields
that are not known here are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from edgenext.schema.device import Telemetry

RAM = re.compile(r"\bRAM (\d+)/(\d+)MB")
CPU = re.compile(r"\bCPU \[([^\[\]]*)\]")
GPU = re.compile(r"\bGR3D(?:_FREQ)? (?:(\d+)%)?(?:@\[?([\d,]+)\]?)?(?=\s|$)")
EMC = re.compile(r"\bEMC(?:_FREQ)? (\d+)%(?:@(\d+))?(?=\s|$)")
TEMPERATURE = re.compile(r"(?<!\S)(\w+)@(-?\d+(?:\.\d+)?)C(?:/-?[\d.]+C)?(?=\s|$)")
POWER = re.compile(r"(?<!\S)([A-Za-z]\w*) (\d+)(?:mW)?(?:/\d+(?:mW)?){1,2}(?=\s|$)")
COLDEST, HOTTEST = -50.0, 150.0
"""°C that a working sensor can show: one that is off shows −256."""
NOT_CONNECTED = "NC"
FIXED = {"PMIC"}
"""Sensors that show 100 °C whatever happens."""


@dataclass(frozen=True)
class Sample:
    """One line. What it does not say is None or empty; powers are those of the moment, in mW.

    `cpu_percent` and `cpu_mhz` have one entry for each CPU, None for one that is off or whose
    clock is not shown. A GPU that is switched off shows no clock.
    """

    ram_mb: float
    ram_total_mb: float
    cpu_percent: tuple[float | None, ...] = ()
    cpu_mhz: tuple[float | None, ...] = ()
    gpu_percent: float | None = None
    gpu_mhz: float | None = None
    emc_percent: float | None = None
    emc_mhz: float | None = None
    temperatures_c: dict[str, float] = field(default_factory=dict)
    power_mw: dict[str, float] = field(default_factory=dict)


def parse(line: str) -> Sample | None:
    """One line, or None where it is none of tegrastats.

    A line that was cut may end in a wrong number: `parse_all` takes whole lines only.
    """
    ram, cpu = RAM.search(line), CPU.search(line)
    if not ram or not cpu:
        return None
    cores = [_core(text) for text in cpu[1].split(",")]
    gpu, emc = GPU.search(line), EMC.search(line)
    clocks = [_float(part) for part in gpu[2].split(",") if part] if gpu and gpu[2] else []
    heat = {name: _float(value) for name, value in TEMPERATURE.findall(line)}
    return Sample(
        ram_mb=_float(ram[1]),
        ram_total_mb=_float(ram[2]),
        cpu_percent=tuple(percent for percent, _ in cores),
        cpu_mhz=tuple(mhz for _, mhz in cores),
        gpu_percent=_float(gpu[1]) if gpu and gpu[1] else None,
        gpu_mhz=max(clocks, default=0.0) or None,
        emc_percent=_float(emc[1]) if emc else None,
        emc_mhz=(_float(emc[2]) or None) if emc and emc[2] else None,
        temperatures_c={n: c for n, c in heat.items() if COLDEST < c < HOTTEST and n not in FIXED},
        power_mw={n: _float(mw) for n, mw in POWER.findall(line) if n != NOT_CONNECTED},
    )


def parse_all(text: str) -> list[Sample]:
    """All samples of a log, in order; what follows the last line end is not a whole line."""
    whole = text[: text.rfind("\n") + 1]
    return [sample for line in whole.splitlines() if (sample := parse(line)) is not None]


def summary(
    samples: Sequence[Sample],
    seconds: float,
    inferences: int,
    whole_rail: str = "",
    idle: Sequence[Sample] = (),
) -> Telemetry:
    """What the samples say of `inferences` that ran for so many seconds.

    Args:
        samples: taken while they ran, at even intervals.
        seconds: how long they ran.
        inferences: how many there were.
        whole_rail: the rail that feeds the whole module; without one there is no energy.
        idle: samples taken before anything ran.

    The CPU's clock of a sample is that of its fastest core: others may sleep.
    """
    powers = _collect(samples, lambda s: s.power_mw)
    heat = _collect(samples, lambda s: s.temperatures_c)
    clocks = _collect(samples, _clocks)
    mean_w = {name: fmean(values) / 1000 for name, values in powers.items()}
    rest = [s.power_mw[whole_rail] for s in idle if whole_rail in s.power_mw]
    whole_w = mean_w.get(whole_rail)
    measured = whole_w is not None and inferences > 0 and seconds > 0
    return Telemetry(
        seconds=seconds,
        samples=len(samples),
        power_w=mean_w,
        temperatures_c={name: max(values) for name, values in heat.items()},
        clocks_mhz={name: min(values) for name, values in clocks.items()},
        idle_power_w=fmean(rest) / 1000 if rest else None,
        energy_mj=whole_w * seconds / inferences * 1000 if measured and whole_w else None,
    )


def _clocks(sample: Sample) -> dict[str, float]:
    cpu = max((mhz for mhz in sample.cpu_mhz if mhz is not None), default=None)
    each = {"cpu": cpu, "gpu": sample.gpu_mhz, "emc": sample.emc_mhz}
    return {name: mhz for name, mhz in each.items() if mhz is not None}


def _collect(
    samples: Iterable[Sample], pick: Callable[[Sample], dict[str, float]]
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in pick(sample).items():
            found.setdefault(name, []).append(value)
    return found


def _core(text: str) -> tuple[float | None, float | None]:
    """Load in percent and clock in MHz of `12%@1190`; two None of `off` or anything else."""
    found = re.fullmatch(r"\s*(\d+)%(?:@(\d+))?\s*", text)
    if not found:
        return None, None
    return _float(found[1]), _float(found[2]) if found[2] else None


def _float(text: str) -> float:
    return float(text[:32])
