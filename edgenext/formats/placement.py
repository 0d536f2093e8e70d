"""What the compilers' modules share: asking in a process of its own, the record of the answer."""

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
    from edgenext.schema import CheckReport

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact

MOST_NAMES = 8
"""Names of refused operators that a report has, of one type and reason."""


def ask(function: str, artifact: Artifact, needs: str, vendor: str, **told: Any) -> IsolatedCall:
    """Call a function of a format's folder in a process of its own.

    Args:
        function: `folder.module:name`; it gets `path` and what it is told, as a dict.
        artifact: the file.
        needs: the module that it cannot do without, of the extra `vendors`.
        vendor: whose code it calls, for the message.
        told: plain JSON.

    Raises:
        MissingDependencyError: the module is not installed.
        RuntimeFailedError: the vendor's code died; the message names its log.
    """
    return call_isolated(
        f"edgenext.formats.{function}",
        {"path": str(artifact.path.absolute()), **told},
        log_of(artifact),
        f"{vendor} died over {artifact.path.name}",
        python_for(needs, "vendors"),
    )


def log_of(artifact: Artifact) -> Path:
    """What the vendor's code printed when it was asked last."""
    return cache_folder("logs") / f"{artifact.path.name}.check.log"


def report(artifact: Artifact, target: str, **fields: Any) -> CheckReport:
    """The record of an answer."""
    m = artifact.manifest
    about = {"sha256": m.sha256, "format": m.format, "scheme": m.scheme, "target": target}
    return CheckReport(artifact=artifact.name, **about, **fields)


def placements(units: Mapping[str, Mapping[str, int]]) -> tuple[Placement, ...]:
    """Operators by unit, the most frequent first; units without any are left out."""
    return tuple(
        Placement(unit=unit, operators=dict(Counter(operators).most_common()))
        for unit, operators in units.items()
        if operators
    )


def refusals(nodes: Iterable[tuple[str, str, str]]) -> tuple[Refusal, ...]:
    """Operators that did not land, from (type, name, reason) of each, the most frequent first."""
    found: dict[tuple[str, str], list[str]] = {}
    for operator, name, reason in nodes:
        found.setdefault((operator, reason), []).append(name)
    return tuple(
        Refusal(
            operator=operator,
            count=len(names),
            reason=reason,
            names=tuple(filter(None, names[:MOST_NAMES])),
        )
        for (operator, reason), names in sorted(found.items(), key=lambda item: -len(item[1]))
    )


Counts = Mapping[str, int]


def accelerated(others: str, taken: Counts, left: Counts, pieces: int | None) -> dict[str, Any]:
    why = f"XNNPACK leaves it to the {others}"
    return {
        "placements": placements({"xnnpack": taken, others: left}),
        "refusals": refusals([(name, "", why) for name, n in left.items() for _ in range(n)]),
        "delegated": not left,
        "partitions": pieces,
    }


def asked_here(
    artifact: Artifact, target: str, about: dict[str, Any], ask: Callable[[], dict[str, Any]]
) -> CheckReport:
    """The record of what a runtime says, or of its refusal."""
    start = time.monotonic()
    fields: dict[str, Any] = {"evidence": "host", "accepted": True, "delegated": True}
    try:
        fields |= ask()
    except RuntimeFailedError as e:
        fields |= {"accepted": False, "delegated": False, "errors": (str(e),)}
    fields["seconds"] = round(time.monotonic() - start, 1)
    return report(artifact, target, **about, **fields)
