"""What the `check.py` of the formats share: calling a vendor's compiler, and writing the report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenext.errors import RuntimeFailedError
from edgenext.schema import CheckReport, Placement, Refusal
from edgenext.system.environments import python_for
from edgenext.system.files import cache_folder
from edgenext.system.isolation import IsolatedCall, call_isolated

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact

MAX_NAMES = 8
"""Names of refused operators in a report, for one type and reason."""

Counts = Mapping[str, int]
"""Operators by type."""


def call_compiler(
    function: str, artifact: Artifact, package: str, vendor: str, **options: Any
) -> IsolatedCall:
    """Call a function of a format's folder in a process of its own.

    Args:
        function: `folder.module:name`; it takes a dict of `path` and the options.
        artifact: the file.
        package: the module that it needs, from the extra `vendors`.
        vendor: whose code it calls, for error messages.
        options: plain JSON.

    Raises:
        MissingDependencyError: the module is not installed.
        RuntimeFailedError: the vendor's code crashed; the message names its log.
    """
    return call_isolated(
        f"edgenext.formats.{function}",
        {"path": str(artifact.path.absolute()), **options},
        compiler_log(artifact),
        f"{vendor} crashed on {artifact.path.name}",
        python_for(package, "vendors"),
    )


def compiler_log(artifact: Artifact) -> Path:
    """The file with what the vendor's code printed in its last call."""
    return cache_folder("logs") / f"{artifact.path.name}.check.log"


def check_report(artifact: Artifact, target: str, **fields: Any) -> CheckReport:
    """A report on an artifact, with the other fields of `CheckReport`."""
    manifest = artifact.manifest
    return CheckReport(
        artifact=artifact.name,
        sha256=manifest.sha256,
        format=manifest.format,
        scheme=manifest.scheme,
        target=target,
        **fields,
    )


def runtime_report(
    artifact: Artifact, target: str, fields: dict[str, Any], inspect: Callable[[], dict[str, Any]]
) -> CheckReport:
    """A report on an artifact by a runtime of this machine.

    Args:
        artifact: the file.
        target: the runtime's.
        fields: of `CheckReport`, about the runtime.
        inspect: loads the file into the runtime and returns further fields; if it raises
            `RuntimeFailedError`, the file is reported as not accepted.
    """
    start = time.monotonic()
    fields = {"evidence": "host", "accepted": True, "delegated": True, **fields}
    try:
        fields |= inspect()
    except RuntimeFailedError as e:
        fields |= {"accepted": False, "delegated": False, "errors": (str(e),)}
    fields["seconds"] = round(time.monotonic() - start, 1)
    return check_report(artifact, target, **fields)


def placements(units: Mapping[str, Counts]) -> tuple[Placement, ...]:
    """Operators by unit, the most frequent first; units without operators are left out."""
    return tuple(
        Placement(unit=unit, operators=dict(Counter(operators).most_common()))
        for unit, operators in units.items()
        if operators
    )


def refusals(nodes: Iterable[tuple[str, str, str]]) -> tuple[Refusal, ...]:
    """Refused operators, the most frequent first, from the type, name and reason of each."""
    groups: dict[tuple[str, str], list[str]] = {}
    for operator, name, reason in nodes:
        groups.setdefault((operator, reason), []).append(name)
    return tuple(
        Refusal(
            operator=operator,
            count=len(names),
            reason=reason,
            names=tuple(filter(None, names[:MAX_NAMES])),
        )
        for (operator, reason), names in sorted(groups.items(), key=lambda item: -len(item[1]))
    )


def xnnpack_placement(
    kernels: str, delegated: Counts, remaining: Counts, partitions: int | None
) -> dict[str, Any]:
    """Fields of a report on a file that XNNPACK runs in parts, and the CPU as a whole.

    Args:
        kernels: what the runtime calls its own kernels, which run the rest.
        delegated: operators that XNNPACK runs.
        remaining: operators that it leaves to those kernels.
        partitions: the number of its parts.
    """
    reason = f"XNNPACK leaves it to the {kernels}, on the same CPU"
    return {
        "placements": placements({"xnnpack": delegated, kernels: remaining}),
        "refusals": refusals(
            [(name, "", reason) for name, count in remaining.items() for _ in range(count)]
        ),
        "delegated": not remaining,
        "beside": kernels if remaining else "",
        "partitions": partitions,
    }
