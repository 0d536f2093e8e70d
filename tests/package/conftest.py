"""A package of a network whose class names and file name are hostile, and images for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from packages import HOSTILE_NAMES, Packaged, packaged_network, write_images

from edgenext.options import ExportOptions


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty opaque images of many shapes, as PNG."""
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def packaged(tmp_path_factory: pytest.TempPathFactory, images: list[Path]) -> Packaged:
    """An fp32 network that takes normalised floats."""
    folder = tmp_path_factory.mktemp("packaged")
    return packaged_network(folder, images, HOSTILE_NAMES, ExportOptions())


@pytest.fixture(scope="session")
def packaged_pixels(tmp_path_factory: pytest.TempPathFactory, images: list[Path]) -> Packaged:
    """One that takes bytes and normalises inside."""
    folder = tmp_path_factory.mktemp("packaged-pixels")
    return packaged_network(folder, images, HOSTILE_NAMES, ExportOptions(uint8_input=True))


@pytest.fixture
def without_web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages of this test are without the 14 MB of onnxruntime-web."""
    monkeypatch.setenv("EDGENEXT_ENVIRONMENTS", str(tmp_path / "environments"))
