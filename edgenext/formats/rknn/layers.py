"""The table of layers in the toolkit's log: on which unit each operator runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

ROW = re.compile(r"\] (\d+) +(\w+) +(\w+) +(NPU|CPU|GPU) +(?:\\|\().* (\S+)$")
ENDS = ("InputOperator", "OutputOperator")
"""Rows that are no operators: what is passed in and out."""


class Layer(NamedTuple):
    """An operator of a compiled graph, the type of its values, and the unit that runs it."""

    operator: str
    dtype: str
    unit: str
    name: str


def layers(log: str) -> Iterator[Layer]:
    """The rows of the table in a log."""
    for line in log.splitlines():
        row = ROW.search(line.rstrip())
        if row and row[2] not in ENDS:
            yield Layer(row[2], row[3], row[4].lower(), row[5].partition(":")[2])


def reason(log: str) -> str:
    """The toolkit's last error in a log, on one line; empty if there is none."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log)
    errors = [line.strip() for line in plain.splitlines() if re.match(r"(E |\w*Error: )", line)]
    texts = [re.sub(r"^E (RKNN: \[[\d:.]+\] )?", "", line) for line in errors]
    return next((text for text in reversed(texts) if "op target" not in text), "")
