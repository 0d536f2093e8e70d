"""Arm's compiler for Ethos-U, Vela: where each operator of a TFLite file lands, and estimates.

Vela's exit status says nothing of a fallback: a file of which nothing runs on the NPU is compiled,
too. Its listing is read for what lands where, its warnings for why.
"""

from __future__ import annotations

import csv
import math
import re
import shutil
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from edgenext.errors import ArtifactError, RuntimeFailedError, unknown_name
from edgenext.formats.placement import ask, log_of, placements, refusals, report
from edgenext.system.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport

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
"""The NPUs, with the multiply-adds that each does in a cycle."""

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
"""What a report has → the column of Vela's summary, and the factor between their units."""

LANDED = re.compile(r"^ +(CPU|NPU): (\S+) = (.*) \(outputs \[.*\]\)$", re.MULTILINE)
COUNTED = re.compile(r"^(CPU|NPU) operators = (\d+)", re.MULTILINE)
WARNED = re.compile(
    r"^Warning \(supported operators\) operator: (\w+), ofm: '(.*)'\nReason: (.*(?:\n.+)*)",
    re.MULTILINE,
)
NAMED = re.compile(r" \([^()]*(?:<locals>[^()]*)*\)$", re.MULTILINE)
"""A tensor's name at the end of a reason."""

UNREADABLE = ("Failed to load TfLite model", "cannot mmap an empty file")
"""What Vela prints before a broken file brings it down."""

UNEXPLAINED = "Vela does not say why"
PARTIAL = "the estimates leave out what the CPU runs"
NO_NUMBERS = (
    "Vela compiles and does not compute: LiteRT's kernels are what accuracy is measured with"
)


def check(
    artifact: Artifact, *, config: str = DEFAULT_ACCELERATOR, out: Path | str | None = None
) -> CheckReport:
    """What Vela says of a TFLite file, for one NPU.

    Operators on the NPU are Vela's own, many for one of the file; those on the CPU are the file's.

    Args:
        artifact: a TFLite file with a fixed batch.
        config: one of `ACCELERATORS`.
        out: folder to keep the compiled file in.

    Raises:
        UsageError: no such accelerator; the nearest names are suggested.
        ArtifactError: no whole TFLite file.
        MissingDependencyError: Vela is not installed.
        RuntimeFailedError: it died.
        OutputError: the compiled file cannot be written.
    """
    if config not in ACCELERATORS:
        raise unknown_name("accelerator", config, ACCELERATORS)
    with TemporaryDirectory(prefix="edgenext-") as folder:
        try:
            outcome = ask(
                "ethos_u.check:build", artifact, "ethosu", "Vela", config=config, folder=folder
            )
        except RuntimeFailedError as e:
            said = log_of(artifact).read_text(errors="replace")
            if any(words in said for words in UNREADABLE):
                raise ArtifactError(f"{artifact.path.name} is no whole TFLite file") from e
            raise
        made = outcome.result
        kept = _kept(Path(made["compiled"]), artifact, out) if made["compiled"] else ""
    fields: dict[str, Any] = {"accepted": False, "delegated": False, "errors": (made["failed"],)}
    if not made["failed"]:
        fields = _landed(outcome.output) | {"estimates": made["estimates"]}
    return report(
        artifact,
        "ethos-u",
        unit="npu",
        compiler=f"Vela for {config}",
        version=version(PACKAGE),
        seconds=round(outcome.seconds, 1),
        compiled=kept,
        **fields,
    )


def build(job: dict[str, Any]) -> dict[str, Any]:
    """Compile a file; what Vela says of it goes to stdout.

    Args:
        job: `path` of a TFLite file, `config`, and the `folder` for what Vela writes.

    Returns:
        `compiled`, a path; `estimates` by name; or `failed`, in Vela's words.
    """
    from ethosu.vela import vela

    folder = Path(job["folder"])
    source = folder / "network.tflite"  # Vela calls what it writes after what it reads
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
    """Vela's estimates in our units; those that are there."""
    found = {name: factor * float(row[column]) for name, (column, factor) in ESTIMATES.items()}
    return {name: value for name, value in found.items() if math.isfinite(value) and value}


def _kept(compiled: Path, artifact: Artifact, out: Path | str | None) -> str:
    """Where the compiled file stands once it is kept."""
    if out is None:
        return ""
    path = Path(out) / f"{artifact.path.stem}_vela.tflite"
    with atomic_path(path) as temporary:
        shutil.copyfile(compiled, temporary)
    return str(path)


def _landed(said: str) -> dict[str, Any]:
    """Placement and refusals, from what Vela prints.

    Raises:
        RuntimeFailedError: it prints something else.
    """
    counts = {unit: int(n) for unit, n in COUNTED.findall(said)}
    units: dict[str, Counter[str]] = {"npu": Counter(), "cpu": Counter()}
    warned = {name: (kind, _reason(why)) for kind, name, why in WARNED.findall(said)}
    left = []
    for unit, kind, name in LANDED.findall(said):
        if unit == "NPU":
            units["npu"][kind] += 1
            continue
        operator, why = warned.get(name, (kind, UNEXPLAINED))
        units["cpu"][operator] += 1
        left.append((operator, name, why))
    if counts != {unit.upper(): found.total() for unit, found in units.items()}:
        raise RuntimeFailedError(
            "Vela's listing cannot be read", f"This package knows that of {PACKAGE} 5.2"
        )
    return {
        "accepted": True,
        "delegated": not left,
        "placements": placements(units),
        "refusals": refusals(left),
        "notes": (NO_NUMBERS, PARTIAL) if left else (NO_NUMBERS,),
    }


def _reason(text: str) -> str:
    """Vela's lines as one, without the name of the one tensor that they are of."""
    return "; ".join(NAMED.sub("", text).splitlines())
