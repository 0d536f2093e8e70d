"""The files that a command writes for continuous integration, read back."""

from __future__ import annotations

import csv
from pathlib import Path
from xml.etree import ElementTree


def junit_suites(path: Path | str) -> list[ElementTree.Element]:
    """The root of a JUnit document and its one suite."""
    root = ElementTree.parse(path).getroot()  # noqa: S314 - written by the test
    (suite,) = root
    return [root, suite]


def csv_rows(path: Path | str) -> list[dict[str, str]]:
    """The rows of a table by column."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
