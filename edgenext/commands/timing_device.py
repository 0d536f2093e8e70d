"""The device that times a run's files, and which of them it can run."""

from __future__ import annotations

from dataclasses import dataclass

from edgenext.commands.bench import is_bundled
from edgenext.devices.add import device_facts
from edgenext.devices.registry import find_device
from edgenext.devices.runners.python_runner import lacking
from edgenext.errors import UsageError
from edgenext.options import AUTO, DEFAULT_FORMAT, DEFAULT_TARGET, THIS_CPU
from edgenext.schema import Device, DeviceFacts
from edgenext.targets.target import Target, require_target

CPU_KINDS = ("linux", "jetson")
"""Kinds of devices whose CPU the pushed runner times."""


@dataclass(frozen=True)
class TimingDevice:
    """A device as a run found it; `device` is None for this machine.

    `facts` are None where nobody has opened its page yet, `unit` is the compute unit to ask for.
    """

    device: Device | None = None
    facts: DeviceFacts | None = None
    unit: str = ""

    @property
    def name(self) -> str:
        """What `bench` calls it."""
        return self.device.name if self.device else THIS_CPU

    @property
    def is_cpu(self) -> bool:
        """Whether it is the CPU of another machine."""
        return self.device is not None and self.unit == THIS_CPU

    def lacking(self, artifact_format: str, target: str) -> str:
        """What it lacks to run a format as a target does, as a remedy; empty for nothing."""
        if self.device is None or self.facts is None or not self.is_cpu:
            return ""
        return lacking(self.device, self.facts, artifact_format, target)


THIS_MACHINE = TimingDevice()


def timing_device(name: str, target: str) -> TimingDevice:
    """The device of a name, once it is known to run files for a target.

    Raises:
        UsageError: no such device, or it times no files for this target in a run.
        DeviceError: it does not answer.
    """
    if name == THIS_CPU:
        return THIS_MACHINE
    device = find_device(name)
    if is_bundled(name):
        raise UsageError(
            f"{device.name} is measured by a bundle that is carried there",
            f"Run without it, then `edgenext bench --device {device.name}`",
        )
    about = None if target == AUTO else require_target(target)
    unit = _unit(device, target, about)
    facts = None if device.bundle else device_facts(device)
    timing = TimingDevice(device, facts, unit)
    if remedy := timing.lacking(DEFAULT_FORMAT, DEFAULT_TARGET):
        raise UsageError(
            f"{device.name} cannot run the plain ONNX export, the base of all comparisons", remedy
        )
    if about and (remedy := timing.lacking(about.format, target)):
        raise UsageError(f"{device.name} cannot run files for {target}", remedy)
    return timing


def _unit(device: Device, target: str, about: Target | None) -> str:
    """The compute unit that files for a target are for.

    Raises:
        UsageError: the device has no such unit.
    """
    if about is None or not (about.device or about.place):
        if device.kind in CPU_KINDS:
            return THIS_CPU
        raise UsageError(
            f"{device.name} is of kind {device.kind}: a run times files for a CPU on "
            f"{' or '.join(CPU_KINDS)}",
            f"Use the --target of {device.kind}, or `edgenext bench --device {device.name}`",
        )
    if not about.device:
        raise UsageError(f"no device times files for {about.place}", "Leave --device out")
    if device.kind != about.device:
        raise UsageError(
            f"{device.name} is of kind {device.kind}, and files for {target} are timed on "
            f"{about.device}",
            "Name another --device or --target",
        )
    return about.unit
