"""The reasons why Qualcomm's backend refuses operators, from its verbose log."""

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
REASON = re.compile(r"\tREASON : (?P<text>.*)")
NAMED_NODE = re.compile(r"\w+ node `.*` will not be assigned to QNN EP")
"""The part of a reason that names one node; without it, equal reasons can be grouped."""


@dataclass(frozen=True)
class Reason:
    """Why a node was refused.

    `unit` is the type of the operator that it is validated with: Q/DQ belong to a neighbour.
    """

    unit: str
    text: str


def reasons(log: str) -> dict[str, Reason]:
    """Name of each refused node → the reason, if the log has one."""
    result: dict[str, Reason] = {}
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
            text = refused_by or NAMED_NODE.sub("", match["text"]).rstrip(". ")
            result |= dict.fromkeys(names, Reason(unit, text))
            unit = ""
    return result
