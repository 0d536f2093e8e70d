"""Targets and the form that is fastest there; docs/forms.md has the measurements."""

from edgenext.errors import unknown_name

FORMS = ("naive", "convT")
"""The layouts a network can be exported in."""

TARGET_FORM = {"cpu-onnxruntime": "convT"}
"""The fastest float form measured for a target."""

DEFAULT_TARGET = "cpu-onnxruntime"


def form_for(target: str) -> str:
    """The fastest form for a target.

    Raises:
        UsageError: no such target; the nearest names are suggested.
    """
    if target not in TARGET_FORM:
        raise unknown_name("target", target, TARGET_FORM)
    return TARGET_FORM[target]
