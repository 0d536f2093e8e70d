"""The private environments of converters: made by `make test`, found again by their locks."""

from __future__ import annotations

import pytest

from edgenext.system import environments


def private_python(name: str) -> str:
    """The interpreter of a private environment; skips where it has not been made."""
    found = environments.interpreter(name)
    if found is None:
        pytest.skip(f"no environment of {name} (edgenext env {name})")
    return str(found)
