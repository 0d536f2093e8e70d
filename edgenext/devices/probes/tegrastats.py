"""Lines of `tegrastats`, of every generation of Jetson.

`NAME now/average` in mW up to JetPack 7.1, `NAME nowmW/averagemW/maximummW` from 7.2 on; unknown
fields are ignored.
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
"""The range in °C of a working sensor: one that is off shows −256."""
NOT_CONNECTED = "NC"
FIXED = {"PMIC"}
"""Sensors that always show 100 °C."""


@dataclass(frozen=True)
class Sample:
    """One line; missing values are None or empty, powers are instantaneous, in mW.

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


def parse_sample(line: str) -> Sample | None:
    """The sample of a line; None for a line that is not from tegrastats.

    A line that was cut off may end in a wrong number: `parse_samples` takes complete lines only.
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


def parse_samples(text: str) -> list[Sample]:
    """All samples of a log, in order; text after the last line end is ignored."""
    complete = text[: text.rfind("\n") + 1]
    return [sample for line in complete.splitlines() if (sample := parse_sample(line)) is not None]


def telemetry_summary(
    samples: Sequence[Sample],
    seconds: float,
    inferences: int,
    whole_rail: str = "",
    idle: Sequence[Sample] = (),
) -> Telemetry:
    """The power, energy, temperatures and clocks of inferences that ran without a pause.

    The CPU's clock of a sample is that of its fastest core, since others may sleep.

    Args:
        samples: taken at even intervals during the inferences.
        seconds: the duration of the inferences.
        inferences: their number.
        whole_rail: the rail that feeds the whole module; without one there is no energy.
        idle: samples taken before anything ran.
    """
    powers = _collect(samples, lambda s: s.power_mw)
    heat = _collect(samples, lambda s: s.temperatures_c)
    clocks = _collect(samples, _clocks)
    mean_w = {name: fmean(values) / 1000 for name, values in powers.items()}
    idle_mw = [s.power_mw[whole_rail] for s in idle if whole_rail in s.power_mw]
    module_w = mean_w.get(whole_rail)
    has_energy = module_w is not None and inferences > 0 and seconds > 0
    return Telemetry(
        seconds=seconds,
        samples=len(samples),
        power_w=mean_w,
        temperatures_c={name: max(values) for name, values in heat.items()},
        clocks_mhz={name: min(values) for name, values in clocks.items()},
        idle_power_w=fmean(idle_mw) / 1000 if idle_mw else None,
        energy_mj=module_w * seconds / inferences * 1000 if has_energy and module_w else None,
    )


def _clocks(sample: Sample) -> dict[str, float]:
    cpu = max((mhz for mhz in sample.cpu_mhz if mhz is not None), default=None)
    clocks = {"cpu": cpu, "gpu": sample.gpu_mhz, "emc": sample.emc_mhz}
    return {name: mhz for name, mhz in clocks.items() if mhz is not None}


def _collect(
    samples: Iterable[Sample], pick: Callable[[Sample], dict[str, float]]
) -> dict[str, list[float]]:
    """The values of all samples, by name."""
    values: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in pick(sample).items():
            values.setdefault(name, []).append(value)
    return values


def _core(text: str) -> tuple[float | None, float | None]:
    """Load in percent and clock in MHz of `12%@1190`; None and None for `off` or other text."""
    match = re.fullmatch(r"\s*(\d+)%(?:@(\d+))?\s*", text)
    if not match:
        return None, None
    return _float(match[1]), _float(match[2]) if match[2] else None


def _float(text: str) -> float:
    return float(text[:32])
