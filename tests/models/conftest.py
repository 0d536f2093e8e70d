from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden import weights as golden


@pytest.fixture
def xxs() -> dict[str, torch.Tensor]:
    """Golden weights of the smallest architecture."""
    return golden.state("edgenext_xx_small")


@pytest.fixture(autouse=True)
def no_real_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep tests away from the user's cache, mirror and proxy."""
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGENEXT_WEIGHTS_URL", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache"
