"""The private environments of converters, which `make test` makes."""

from __future__ import annotations

import pytest

from edgenext.system import environments


def private_python(name: str) -> str:
    """The interpreter of a private environment; skips the test if it has not been made."""
    python = environments.interpreter(name)
    if python is None:
        pytest.skip(f"no environment of {name} (edgenext env {name})")
    return str(python)
