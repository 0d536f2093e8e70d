"""Fixtures of the tests of Core ML."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def weighted_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Core ML package with weights in a file."""
    from mil_packages import linear, weighted

    folder = tmp_path_factory.mktemp("whole")
    return weighted(folder, "iOS18", linear(mode="linear_symmetric"))
