"""Small image folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from image_files import noise

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for every test."""
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Folder of `counts[class]` distinct PNGs per class, below `inside`."""

    def make(counts: dict[str, int], inside: str = "", name: str = "images") -> Path:
        root = tmp_path / name
        seed = 1000 * len(list(root.rglob("*.png"))) if root.exists() else 0
        for label, n in counts.items():
            folder = root / inside / label
            folder.mkdir(parents=True, exist_ok=True)
            for k in range(n):
                seed += 1
                noise(seed).save(folder / f"{k:03d}.png")
        return root

    return make
