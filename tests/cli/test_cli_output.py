"""Places that cannot be written: the old file stays whole, no new one is half there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_calls import FP32, INT8, MODEL, Cli, temporaries, tree

from edgenext.cli.run import show_verdict

Artifacts = Callable[..., list[Path]]
Pictures = Callable[..., Path]
Disk = Callable[..., Path]
MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mounts small file systems of their own; only root can."""
    mounted: list[Path] = []

    def mount(size: int, name: str = "disk", options: str = "") -> Path:
        if os.geteuid() != 0 or not shutil.which("mount"):
            pytest.skip("only root can mount a small file system")
        (tmp_path / name).mkdir()
        how = f"size={size},nr_inodes=64{options}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", how, "tmpfs", tmp_path / name],  # noqa: S607
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounted.append(tmp_path / name)
        return Path(name)

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", path], check=True)  # noqa: S607


def commands(artifact: Path, out: object) -> list[tuple[object, ...]]:
    """The commands that write into a folder."""
    return [
        ("export", *MODEL, "-o", out),
        ("quantize", artifact, "--calib", "digits", "-n", "8", "-o", out),
        ("stress", *MODEL[:-2], "-o", Path(str(out)) / "twin.safetensors"),
    ]


def test_a_folder_below_a_file(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    Path("file").touch()
    for out in ("file", "file/below"):
        for command in commands(path, out):
            said = cli.fails(6, *command)
            assert "cannot write" in said
            assert "file" in said


def test_a_run_below_a_file(cli: Cli) -> None:
    Path("file").touch()
    done = cli.run("run", MODEL[0], "--random-weights", "--size", "32", "--data", "digits",
        "-o", "file/run")  # fmt: skip
    assert done.code in (3, 6)
    assert done.err.splitlines()[-1].startswith("edgenext: ")
    assert sorted(p.name for p in Path().iterdir()) == ["file"]


@pytest.mark.parametrize("what", ["", ".json"], ids=["file", "manifest"])
def test_a_folder_where_the_file_should_be(cli: Cli, what: str) -> None:
    Path("out", FP32 + what).mkdir(parents=True)
    assert "cannot write" in cli.fails(6, "export", *MODEL, "-o", "out")


def test_a_disk_that_is_read_only(cli: Cli, artifacts: Artifacts, disk: Disk) -> None:
    (path,) = artifacts(FP32)
    folder = disk(MIB, options=",ro")
    for command in commands(path, folder):
        assert "Read-only file system" in cli.fails(6, *command)


def test_a_disk_that_cannot_hold_the_file(cli: Cli, artifacts: Artifacts, disk: Disk) -> None:
    (path,) = artifacts(FP32)
    folder = disk(MIB)
    for command in commands(path, folder):
        assert "No space left on device" in cli.fails(6, *command)


def test_a_full_disk_leaves_the_old_file_whole(cli: Cli, made: Path, disk: Disk) -> None:
    folder = disk(7 * MIB)
    for name in (FP32, f"{FP32}.json"):
        shutil.copy(made / name, folder)
    # Other weights: what is there must not be replaced by half of what comes.
    again = ("export", *MODEL, "--weight-seed", "1", "-o", folder)
    assert "No space left on device" in cli.fails(6, *again)
    assert cli.ok("eval", folder / FP32, "--data", "digits", "--limit", "10")
    (folder / FP32).unlink()
    cli.ok(*again)


def test_a_disk_with_room_for_all_but_the_manifest(cli: Cli, made: Path, disk: Disk) -> None:
    folder = disk(6 * MIB)
    room = (made / INT8).stat().st_size
    rest = 6 * MIB - (-room // 4096 * -4096)
    (folder / "other").write_bytes(bytes(rest))
    how = ("quantize", made / FP32, "--calib", "digits", "-n", "16", "-o", folder)
    assert "No space left on device" in cli.fails(6, *how)


def test_a_cache_that_is_full(
    cli: Cli, artifacts: Artifacts, pictures: Pictures, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = artifacts(FP32)
    folder = pictures(3)
    full = disk(16384, name="cache")
    assert "EDGENEXT_CACHE" in cli.fails(6, "eval", path, "--data", folder)
    assert not [p for p in full.rglob("*") if p.is_file() and p.parent.name != "index"]
    monkeypatch.setenv("EDGENEXT_CACHE", "elsewhere")
    cli.ok("eval", path, "--data", folder)


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(cli: Cli, disk: Disk) -> None:
    folder = disk(12 * MIB)
    Path("run.toml").write_text(
        'model = "edgenext_xx_small"\ndata = "digits"\nrandom_weights = true\n'
        f'num_classes = 10\nsize = 32\nlimit = 50\nout = "{folder}"\nbaselines = []\n'
        "[quantize]\nn = 8\n[bench]\nrounds = 1\n"
    )
    (folder / "other").write_bytes(bytes(5 * MIB))
    done = cli.run("run", "run.toml")
    assert done.code == 6
    assert done.err.splitlines()[-1].startswith("edgenext: cannot write")
    assert not temporaries(cli.folder)
    before = tree(folder / "artifacts")
    (folder / "other").unlink()
    again = cli.ok("run", "run.toml")
    assert again.err.splitlines()[1] == "export plain: unchanged"
    assert before.items() <= tree(folder / "artifacts").items()
    assert (folder / "report.html").is_file()


def test_a_warning_is_shown_once_beside_a_library_that_logs() -> None:
    code = """
import logging
from edgenext.cli import console
console.set_up(verbose=False, quiet=False, color=False)
logging.warning("a library's own")  # sets up the root logger, if nothing has
logging.getLogger("edgenext.commands.run").warning("the machine was not quiet")
"""
    stderr = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stderr
    assert stderr.count("the machine was not quiet") == 1


def test_the_next_command_is_shown_as_it_can_be_typed_here(
    ran: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The report's own has names in place of paths that lead out of the folder."""
    report = ran / "report.json"
    document = json.loads(report.read_text())
    document["verdict"]["lines"][3] = "next: edgenext run xxs --data imagenet --measure-again"
    report.write_text(json.dumps(document))
    monkeypatch.setattr("sys.argv", ["/opt/bin/edgenext", "run", "xxs", "--data", "../imagenet"])
    show_verdict([report])
    assert "next: edgenext run xxs --data ../imagenet --measure-again\n" in capfd.readouterr().out
