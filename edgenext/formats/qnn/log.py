"""Why Qualcomm's backend refuses an operator: its verbose log, read line by line."""

from __future__ import annotations

import re
from dataclasses import dataclass

ADDING = re.compile(r"QNN node builder is trying to add node\.")
VALIDATED = re.compile(
    r"backendValidateOpConfig\(\) failed for node `.*` of type `(?P<kind>\w+)` "
    r"with error code (?P<code>\d+)"
)
VERDICT = re.compile(
    r"Validation (?P<verdict>PASSED|FAILED) for \d+ nodes in \w+ \((?P<unit>\w+)\)"
)
NODE = re.compile(r"\tOperator type: (?P<operator>\w+) Node name: (?P<name>.*) Node index: \d+$")
REASON = re.compile(r"\tREASON : (?P<why>.*)")
ITSELF = re.compile(r"\w+ node `.*` will not be assigned to QNN EP")
"""A reason's words about the one node, which keep alike ones from being told once."""


@dataclass(frozen=True)
class Reason:
    """Why a node was refused, and the operator that it is a part of: Q/DQ go with their neighbour.

    `unit` is the operator's type.
    """

    unit: str
    why: str


def reasons(log: str) -> dict[str, Reason]:
    """Name of each refused node → why, where the log says so."""
    found: dict[str, Reason] = {}
    refused_by, unit, names = "", "", list[str]()
    for line in log.splitlines():
        if ADDING.search(line):
            refused_by = ""
        elif match := VALIDATED.search(line):
            kind, code = match["kind"], match["code"]
            refused_by = f"the compiler's validation refuses its {kind} (code {code})"
        elif match := VERDICT.search(line):
            unit, names = match["unit"] if match["verdict"] == "FAILED" else "", []
        elif match := NODE.match(line):
            names.append(match["name"])
        elif unit and (match := REASON.match(line)):
            why = refused_by or ITSELF.sub("", match["why"]).rstrip(". ")
            found |= dict.fromkeys(names, Reason(unit, why))
            unit = ""
    return found
