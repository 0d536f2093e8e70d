"""Small files to measure in a browser and in Node, and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.cli_calls import Cli
from tiny_artifacts import tiny_artifact

from edgenext.formats.artifact import Artifact


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    """Two ONNX files that run in a millisecond."""
    folder = tmp_path_factory.mktemp("tiny")
    return [
        tiny_artifact(folder, "narrow", channels=16, layers=2),
        tiny_artifact(folder, "wide", channels=32, layers=2, seed=1),
    ]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """The command line, with a file of devices of its own."""
    monkeypatch.setenv("EDGENEXT_DEVICES", str(tmp_path / "devices.json"))
    return Cli(tmp_path, capfd)
