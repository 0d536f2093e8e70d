"""Vela, Arm's compiler for Ethos-U: the unit of each operator of a TFLite file, and estimates.

Vela's exit status does not tell of a fallback: it compiles files that run on the CPU entirely. Its
listing has the unit of each operator, its warnings have the reasons.
"""

from __future__ import annotations

import csv
import math
import re
import shutil
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenext.errors import ArtifactError, RuntimeFailedError, unknown_name
from edgenext.formats.placement import (
    call_compiler,
    check_report,
    compiler_log,
    placements,
    refusals,
)
from edgenext.system.files import atomic_path
from edgenext.system.temporary import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport
    from edgenext.system.isolation import IsolatedCall

PACKAGE = "ethos-u-vela"

ACCELERATORS = tuple(
    f"ethos-{unit}-{macs}"
    for unit, sizes in {
        "u55": (32, 64, 128, 256),
        "u65": (256, 512),
        "u85": (128, 256, 512, 1024, 2048),
    }.items()
    for macs in sizes
)
"""The NPUs, with their number of multiply-accumulates per cycle."""

DEFAULT_ACCELERATOR = "ethos-u55-256"

ESTIMATES = {
    "inferences_per_second": ("inferences_per_second", 1.0),
    "cycles": ("cycles_total", 1.0),
    "clock_mhz": ("core_clock", 1e-6),
    "macs": ("nn_macs", 1.0),
    "sram_kib": ("sram_memory_used", 1.0),
    "dram_kib": ("dram_memory_used", 1.0),
    "off_chip_flash_kib": ("off_chip_flash_memory_used", 1.0),
}
"""Name in a report → the column of Vela's summary, and the factor between their units."""

OPERATOR = re.compile(r"^ +(CPU|NPU): (\S+) = (.*) \(outputs \[.*\]\)$", re.MULTILINE)
COUNT = re.compile(r"^(CPU|NPU) operators = (\d+)", re.MULTILINE)
WARNING = re.compile(
    r"^Warning \(supported operators\) operator: (\w+), ofm: '(.*)'\nReason: (.*(?:\n.+)*)",
    re.MULTILINE,
)
TENSOR_NAME = re.compile(r" \([^()]*(?:<locals>[^()]*)*\)$", re.MULTILINE)
"""A tensor's name at the end of a reason."""

UNREADABLE = ("Failed to load TfLite model", "cannot mmap an empty file")
"""What Vela prints before it crashes on a broken file."""

UNEXPLAINED = "Vela does not say why"
PARTIAL = "the estimates leave out what the CPU runs"
NO_NUMBERS = (
    "Vela compiles and does not compute: LiteRT's kernels are what accuracy is measured with"
)


def check(
    artifact: Artifact, *, config: str = DEFAULT_ACCELERATOR, out: Path | str | None = None
) -> CheckReport:
    """Vela's report on a TFLite file, for one NPU.

    Operators on the NPU are Vela's own, several for one of the file; those on the CPU are the
    file's.

    Args:
        artifact: a TFLite file with a fixed batch.
        config: one of `ACCELERATORS`.
        out: folder in which to keep the compiled file.

    Raises:
        UsageError: unknown accelerator; the nearest names are suggested.
        ArtifactError: the file is damaged.
        MissingDependencyError: Vela is not installed.
        RuntimeFailedError: it crashed.
        OutputError: the compiled file cannot be written.
    """
    if config not in ACCELERATORS:
        raise unknown_name("accelerator", config, ACCELERATORS)
    with scratch_folder() as folder:
        outcome = _call_vela(artifact, config, str(folder))
        result = outcome.result
        copy = _save(Path(result["compiled"]), artifact, out) if result["compiled"] else ""
    fields: dict[str, Any] = {"accepted": False, "delegated": False, "errors": (result["failed"],)}
    if not result["failed"]:
        fields = _placement(outcome.output) | {"estimates": result["estimates"]}
    return check_report(
        artifact,
        "ethos-u",
        unit="npu",
        compiler=f"Vela for {config}",
        version=version(PACKAGE),
        seconds=round(outcome.seconds, 1),
        compiled=copy,
        **fields,
    )


def _call_vela(artifact: Artifact, config: str, folder: str) -> IsolatedCall:
    """Compile a file in a process of its own; see `build`."""
    try:
        return call_compiler(
            "ethos_u.check:build", artifact, "ethosu", "Vela", config=config, folder=folder
        )
    except RuntimeFailedError as e:
        log = compiler_log(artifact).read_text(errors="replace")
        if any(words in log for words in UNREADABLE):
            raise ArtifactError(
                f"{artifact.path.name} is not a complete TFLite file", "Export it again"
            ) from e
        raise


def build(job: dict[str, Any]) -> dict[str, Any]:
    """Compile a file; Vela prints its listing to stdout.

    Args:
        job: `path` of a TFLite file, `config`, and the `folder` for the files that Vela writes.

    Returns:
        `compiled`, a path; `estimates` by name; or `failed`, Vela's error.
    """
    from ethosu.vela import vela

    folder = Path(job["folder"])
    source = folder / "network.tflite"  # Vela names its files after its input
    shutil.copyfile(job["path"], source)
    options = ["--accelerator-config", job["config"], "--output-dir", str(folder)]
    try:
        vela.main([str(source), *options, "--show-cpu-operations"])
    except (RuntimeError, SystemExit) as e:
        return {"failed": f"{e}", "compiled": "", "estimates": {}}
    with next(folder.glob("*_summary_*.csv")).open(newline="") as f:
        row = list(csv.DictReader(f))[-1]
    return {"failed": "", "compiled": str(folder / "network_vela.tflite"), "estimates": _units(row)}


def _units(row: Mapping[str, str]) -> dict[str, float]:
    """Vela's estimates in the units of a report, without those that it does not have."""
    values = {name: factor * float(row[column]) for name, (column, factor) in ESTIMATES.items()}
    return {name: value for name, value in values.items() if math.isfinite(value) and value}


def _save(compiled: Path, artifact: Artifact, out: Path | str | None) -> str:
    """Copy the compiled file to a folder, if one is given; the path of the copy."""
    if out is None:
        return ""
    path = Path(out) / f"{artifact.path.stem}_vela.tflite"
    with atomic_path(path) as temporary:
        shutil.copyfile(compiled, temporary)
    return str(path)


def _placement(output: str) -> dict[str, Any]:
    """Placement and refusals, from what Vela prints.

    Raises:
        RuntimeFailedError: the output has another format.
    """
    counts = {unit: int(n) for unit, n in COUNT.findall(output)}
    units: dict[str, Counter[str]] = {"npu": Counter(), "cpu": Counter()}
    warnings = {name: (kind, _reason(text)) for kind, name, text in WARNING.findall(output)}
    refused = []
    for unit, kind, name in OPERATOR.findall(output):
        if unit == "NPU":
            units["npu"][kind] += 1
            continue
        operator, reason = warnings.get(name, (kind, UNEXPLAINED))
        units["cpu"][operator] += 1
        refused.append((operator, name, reason))
    if counts != {unit.upper(): operators.total() for unit, operators in units.items()}:
        raise RuntimeFailedError(
            "Vela's listing cannot be read", f"Install {PACKAGE} 5.2, whose format is supported"
        )
    return {
        "accepted": True,
        "delegated": not refused,
        "placements": placements(units),
        "refusals": refusals(refused),
        "notes": (NO_NUMBERS, PARTIAL) if refused else (NO_NUMBERS,),
    }


def _reason(text: str) -> str:
    """The lines of a warning as one, without the name of its tensor."""
    return "; ".join(TENSOR_NAME.sub("", text).splitlines())
