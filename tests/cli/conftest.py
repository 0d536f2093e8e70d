"""Folders to call the command line in, and small artifacts to call it on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_calls import FP32, MODEL, STAGES, Cli, Process, call, config, done_again
from PIL import Image

from edgenext.cli import progress


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGENEXT_DEVICES", str(tmp_path / "cache" / "devices.json"))
    monkeypatch.delenv("EDGENEXT_DEBUG", raising=False)
    monkeypatch.setattr(progress, "FIRST_LINE_S", 1e6)  # however slow the machine is
    return Cli(tmp_path, capfd)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts commands in processes of their own, and ends them with the test."""
    started: list[Process] = []

    def go(*args: object, **kwargs: Any) -> Process:
        started.append(Process(tmp_path, args, **kwargs))
        return started[-1]

    yield go
    for process in started:
        process.kill()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small artifacts of one network with random weights; never write into it."""
    folder = tmp_path_factory.mktemp("made")
    into = ("-o", folder)
    assert call("export", *MODEL, *into) == 0
    assert call("export", *MODEL, "--no-fold", *into) == 0
    assert call("export", *MODEL, "--features", *into) == 0
    assert call("quantize", folder / FP32, "--calib", "digits", "-n", "16", *into) == 0
    return folder


@pytest.fixture
def artifacts(made: Path, cli: Cli) -> Callable[..., list[Path]]:
    """Copies artifacts, with their manifests, into the test's folder."""

    def copy(*names: str) -> list[Path]:
        for name in names:
            for file in (name, f"{name}.json"):
                shutil.copy(made / file, cli.folder / file)
        return [Path(name) for name in names]

    return copy


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of the smallest network with ten classes, without a sidecar."""
    from safetensors.torch import save_file

    from edgenext.models.random_weights import random_state

    path = tmp_path_factory.mktemp("weights") / "ten.safetensors"
    save_file(random_state("edgenext_xx_small", 10, 0), path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of `each` distinct PNGs for every one of ten classes."""

    def make(each: int, classes: Sequence[str] = "0123456789", name: str = "images") -> Path:
        rng = np.random.default_rng(0)
        for label in classes:
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for k in range(each):
                pixels = rng.integers(0, 256, (36, 40, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{k}.png")
        return Path(name)

    return make


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the folder of the first run is kept; the first test that runs makes it."""
    return tmp_path_factory.mktemp("run") / "demo"


@pytest.fixture
def ran(cli: Cli, first: Path) -> Path:
    """A run's folder after its first run, in the test's folder."""
    if not first.exists():
        done = cli.ok("run", config())
        assert done_again(done.err) == STAGES
        shutil.copytree("demo", first)
    else:
        config()
        shutil.copytree(first, "demo")
    return Path("demo")
