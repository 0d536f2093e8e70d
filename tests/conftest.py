"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with Tiny-ImageNet and the weights trained on it."""
    folder = Path(os.environ.get("EDGENEXT_SHARED", ROOT.parent / "shared"))
    if not (folder / "data" / "tiny-imagenet-val.zip").is_file():
        pytest.skip(f"no Tiny-ImageNet data at {folder} (set EDGENEXT_SHARED)")
    return folder
