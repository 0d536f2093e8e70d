"""`edgenext demo`: its settings, its folder and what it refuses; tests/test_wheel.py runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_calls import Cli, tree

from edgenext import api
from edgenext.commands.folder import WorkOwner, work_folder


def test_its_settings_can_be_written_and_edited(cli: Cli) -> None:
    done = cli.ok("demo", "--toml", "mine.toml")
    assert (done.out, done.err) == ("mine.toml\n", "")
    config = api.read_config(Path("mine.toml"), {"epochs": 3})
    assert (config.data, config.out, config.epochs) == ("digits", Path("demo"), 3)
    assert config.train and f"default: {config.train['epochs']}." in cli.ok("demo", "-h").out
    assert list(cli.folder.iterdir()) == [Path("mine.toml").absolute()]
    Path("mine.toml").write_text("changed")
    error = cli.fails(6, "demo", "--toml", "mine.toml")
    assert error.endswith("mine.toml exists already. Choose another name or remove it")
    assert Path("mine.toml").read_text() == "changed"
    cli.fails(6, "demo", "--toml", "none" * 100)
    for other in (("--epochs", "3"), ("-o", "out"), ("--measure-again",)):
        error = cli.fails(2, "demo", "--toml", "new.toml", *other)
        assert "Give it alone, and the other options to `edgenext run`" in error
    assert not Path("new.toml").exists()


@pytest.mark.parametrize("option", ["--epochs", "--limit"])
def test_no_epoch_and_no_image_are_refused_before_anything_is_made(cli: Cli, option: str) -> None:
    assert option[2:] in cli.fails(2, "demo", option, "0")
    assert not Path("demo").exists()


def test_the_folder_of_other_work_is_left_as_it_is(cli: Cli) -> None:
    other = WorkOwner(arch="edgenext_xx_small", num_classes=10, size=128, weights="")
    with work_folder(Path("demo"), other):
        Path("demo", "checkpoint.pth").write_text("of hours")
    before = tree(Path("demo"))
    error = cli.fails(6, "demo")
    assert "demo holds another network's work: size 128 px, not 32 px" in error
    assert error.endswith("Choose another folder with --out, or remove this one")
    assert tree(Path("demo")) == before
    Path("file").touch()
    assert "file" in cli.fails(6, "demo", "-o", "file")
