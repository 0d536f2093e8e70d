"""Conditions as JUnit XML: a test case for each condition and artifact."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from edgenext.report.text import clean
from edgenext.schema import GateCase, GateReport

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


def junit(report: GateReport) -> str:
    """A JUnit document.

    A condition that holds is a failure. One that is undecided is an error where it had to be
    decided, and skipped otherwise.
    """
    suite = ElementTree.Element("testsuite", name=f"edgenext {report.command}")
    for case in report.cases:
        suite.append(_case(case))
    counts = {
        "tests": len(report.cases),
        "failures": len(suite.findall("testcase/failure")),
        "errors": len(suite.findall("testcase/error")),
        "skipped": len(suite.findall("testcase/skipped")),
    }
    root = ElementTree.Element("testsuites")
    for element in (root, suite):
        element.attrib |= {name: str(count) for name, count in counts.items()}
    root.append(suite)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _case(case: GateCase) -> ElementTree.Element:
    """A case; artifacts are its class, so that viewers group by them."""
    element = ElementTree.Element(
        "testcase",
        classname=_text(f"{case.device}.{case.artifact}"),
        name=_text(f"fail if {case.condition}"),
        time="0",
    )
    if case.outcome == "failed":
        ElementTree.SubElement(element, "failure", message=_text(case.detail))
    elif case.is_broken:
        message = _text(f"undecided: {case.detail}")
        ElementTree.SubElement(element, "error", message=message, type="undecided")
    elif case.outcome == "undecided":
        ElementTree.SubElement(element, "skipped", message=_text(f"undecided: {case.detail}"))
    ElementTree.SubElement(element, "system-out").text = _text(case.detail)
    return element


def _text(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", clean(text))
