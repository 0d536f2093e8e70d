"""What every command needs: it starts lightly, explains itself and says what was wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_calls import Cli, environment

from edgenext.errors import UsageError

COMMANDS = (
    "models", "fetch", "export", "quantize", "eval", "compare", "bench", "train", "run", "stress",
    "report",
)  # fmt: skip
HEAVY = ("torch", "onnx", "onnxruntime", "matplotlib", "sklearn", "scipy", "PIL")


def python(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import edgenext",
        "import edgenext.cli",
        "import edgenext.cli\ntry: edgenext.cli.app(['--help'])\nexcept SystemExit: pass",
        "import edgenext.cli\ntry: edgenext.cli.app(['export', '--help'])\nexcept SystemExit: pass",
    ],
    ids=["import edgenext", "import edgenext.cli", "--help", "export --help"],
)
def test_nothing_heavy_is_imported(code: str, tmp_path: Path) -> None:
    code += f"\nimport sys\nprint(*(m for m in {HEAVY!r} if m in sys.modules))"
    assert python(code, tmp_path).splitlines()[-1] == ""


def test_help_names_every_command(cli: Cli) -> None:
    out = cli.ok("--help").out
    assert [c for c in COMMANDS if f"\n  {c} " in out] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli: Cli, command: str) -> None:
    done = cli.ok(command, "--help")
    assert done.out.startswith(f"Usage: edgenext {command} ")
    assert not done.err
    undescribed = [
        line for line in done.out.splitlines() if line.startswith("  --") and len(line.split()) == 1
    ]
    assert not undescribed


def test_a_command_alone_shows_the_help(cli: Cli) -> None:
    done = cli.run()
    assert done.code == UsageError.exit_code
    assert done.err.startswith("Usage: edgenext ")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["exprot"], "'export'"),
        (["frobnicate"], "No such command 'frobnicate'. See `edgenext --help`"),
        (["export", "--wieghts", "x"], "--weights"),
        (["export", "--size", "big"], "'--size'"),
        (["eval"], "MODEL|ARTIFACT"),
        (["eval", "edgenext_small"], "Missing option '--data'. See `edgenext eval --help`"),
        (["compare", "edgenext_small", "--data", "digits"], "OTHER"),
        (["models", "--json", "extra"], "extra"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_command_that_cannot_be_is_one_line(cli: Cli, args: list[str], says: str) -> None:
    assert says in cli.fails(2, *args)


def test_an_early_end_of_the_reader_is_no_error(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "edgenext", "models", "--json"],
        env=environment(tmp_path),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_debugging_shows_the_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGENEXT_DEBUG", "1")
    done = cli.run("eval", "nowhere.onnx", "--data", "digits")
    assert done.code == 3
    assert done.err.startswith("Traceback")
    assert "open_subject" in done.err
    assert done.err.splitlines()[-1] == "edgenext: no artifact at nowhere.onnx"
