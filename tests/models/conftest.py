from __future__ import annotations

from collections.abc import Iterator
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


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Images this small gain nothing from threads, and on a busy machine lose much by them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
