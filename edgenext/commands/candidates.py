"""`--target auto`: the files that may be the fastest on this machine's CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from edgenext.benchmark.advice import BF16
from edgenext.benchmark.environment import environment
from edgenext.commands.quantize import QuantizeSettings, resolve_quantization
from edgenext.commands.timing_device import THIS_MACHINE, TimingDevice
from edgenext.errors import MissingDependencyError, UsageError
from edgenext.export.settings import ExportSettings, float_settings, own_format
from edgenext.formats.runtimes import runtime_for
from edgenext.options import (
    AUTO,
    DEFAULT_FORMAT,
    ENGINE,
    EXPORT,
    ExportOptions,
    QuantizeOptions,
)
from edgenext.system.environments import python_for
from edgenext.targets.target import TARGETS, schemes

HALF = "bf16"
"""The cast that is considered beside INT8 where the CPU multiplies bfloat16."""


@dataclass(frozen=True)
class CpuTargets:
    """The targets of a CPU.

    `usable` are those whose converter and runtime are installed, `missing` maps the others to the
    command that installs what they lack. `isa` are the CPU's instruction sets.
    """

    usable: tuple[str, ...]
    missing: dict[str, str]
    isa: tuple[str, ...]


def cpu_targets(timing: TimingDevice = THIS_MACHINE) -> CpuTargets:
    """The targets that `--target auto` considers; their runtimes are imported.

    Args:
        timing: where files are timed. Their accuracy is measured here, so that they need a runtime
            here too.
    """
    usable, missing = [], {}
    for name in (name for name, target in TARGETS.items() if target.auto):
        settings = float_settings(name)
        try:
            require_converter(settings)
            runtime_for(settings.format.name, name).preload()
        except MissingDependencyError as e:
            missing[name] = e.remedy
            continue
        if remedy := timing.lacking(settings.format.name, name):
            missing[name] = remedy
        else:
            usable.append(name)
    isa = timing.facts.isa if timing.facts else environment().isa
    return CpuTargets(tuple(usable), missing, isa)


def require_converter(settings: ExportSettings) -> None:
    """Refuse a file whose converter is not installed.

    Raises:
        MissingDependencyError: as above.
    """
    if settings.converter and settings.converter.needs:
        python_for(settings.converter.needs, settings.converter.extra or settings.format.folder)


def named_after_format(settings: ExportSettings) -> ExportSettings:
    """The settings of one of several files: their names differ in more than the ending."""
    if settings.format.name == DEFAULT_FORMAT:
        return settings
    return replace(settings, variant=(settings.format.name, *settings.variant))


def quantize_candidates(
    options: QuantizeOptions,
    targets: CpuTargets,
    export: ExportOptions = EXPORT,
    *,
    casts: bool = True,
) -> dict[str, QuantizeSettings]:
    """The quantized files of a CPU's usable targets by name: the scheme, and with `casts` bf16.

    The first is this package's own engine by its name, the others are called by target and scheme.

    Raises:
        UsageError: a recipe or engine, which are for one target; a scheme that none of them runs.
    """
    if options.recipe or options.engine != ENGINE:
        what = "a recipe" if options.recipe else f"--engine {options.engine}"
        raise UsageError(f"{what} is for one target", f"Name it instead of --target {AUTO}")
    settings: dict[str, QuantizeSettings] = {}
    for target, scheme in _pairs(targets, options.scheme, casts=casts):
        one = replace(options, target=target, scheme=scheme)
        if scheme == HALF:
            one = replace(one, qat=None, gelu="")
        name = f"{target} {scheme}" if settings else ENGINE
        own = replace(export, target=target, format=own_format(target, scheme))
        settings[name] = resolve_quantization(one, own)
    if not settings:
        raise UsageError(
            f"none of {', '.join(targets.usable)} runs {options.scheme}",
            "Use --scheme w8a8-static",
        )
    return settings


def _pairs(targets: CpuTargets, scheme: str, *, casts: bool) -> Iterator[tuple[str, str]]:
    """Targets with the schemes that are considered, the cast last."""
    half = (HALF,) if casts and not BF16.isdisjoint(targets.isa) else ()
    for considered in dict.fromkeys((scheme, *half)):
        yield from (
            (target, considered) for target in targets.usable if considered in schemes(target)
        )
