"""Targets and the form that is fastest there; docs/forms.md has the measurements."""

FORMS = ("naive", "convT")
"""The layouts a network can be exported in."""

TARGET_FORM = {"cpu-onnxruntime": "convT"}
"""The fastest float form measured for a target."""

DEFAULT_TARGET = "cpu-onnxruntime"
