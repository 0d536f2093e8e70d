"""What every command needs: it starts lightly, explains itself and says what was wrong."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli_calls import Cli, environment

import edgenext
from edgenext.cli.group import PANELS, command, examples, listed
from edgenext.errors import UsageError

COMMANDS = tuple(listed())
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


def test_the_help_of_the_application_imports_no_command(tmp_path: Path) -> None:
    code = "import edgenext.cli\ntry: edgenext.cli.app(['--help'])\nexcept SystemExit: pass"
    code += "\nimport sys\nprint(*(m for m in sys.modules if m in ('pydantic', 'rich')))"
    assert python(code, tmp_path).splitlines()[-1] == ""


def test_help_shows_every_command_in_its_panel(cli: Cli) -> None:
    out = cli.ok("-h").out
    places = [out.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    headings = [out.index(f"\n{panel}:") for panel in PANELS]
    assert headings == sorted(headings) and headings[0] < places[0]
    assert "Others:" not in out
    # each summary is whole, and the one that the command itself shows
    unwrapped = " ".join(out.split())
    for name in COMMANDS:
        summary = listed()[name].summary
        assert summary in unwrapped
        assert summary in " ".join(cli.ok(name, "--help").out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(cli: Cli, name: str) -> None:
    done = cli.ok(name, "-h")
    assert done.out.startswith(f"Usage: edgenext {name} ")
    assert not done.err
    assert "......" not in done.out and "}" not in done.out
    assert ("Calibration:" in done.out) == ("--calib" in done.out)
    lines = done.out.splitlines()
    assert not [line for line in lines if line.startswith("  --") and len(line.split()) == 1]
    for unclear in ("<", "{", "…", "list["):
        assert not [line for line in lines if unclear in line], unclear
    assert max(map(len, lines)) <= 100
    if name in examples():  # before any option
        assert 0 < lines.index("Examples:") < lines.index("Options:")


def test_every_example_can_be_typed() -> None:
    for name, lines in examples().items():
        first, *rest = name.split()
        for line in lines:
            program, *words = shlex.split(line)
            assert (program, words[: 1 + len(rest)]) == ("edgenext", [first, *rest])
            parsed = command(first)
            if rest:
                parsed = parsed.get_command(None, rest[0])
            parsed.make_context(name, words[1 + len(rest) :])


def test_options_that_a_command_does_not_read_are_not_shown(cli: Cli) -> None:
    assert "--reset-head" in cli.ok("train", "-h").out
    for name in ("eval", "compare", "diff", "sensitivity"):
        assert "--reset-head" not in cli.ok(name, "-h").out


def test_the_version(cli: Cli) -> None:
    assert cli.ok("--version").out == f"edgenext {edgenext.__version__}\n"


def completed(line: str, folder: Path) -> list[str]:
    """What bash completes a command line to."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "edgenext"],
        env=environment(folder) | words | {"_EDGENEXT_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("edgenext com", ["compare"]),
        ("edgenext quantize --target co", ["coreml"]),
        ("edgenext export --scheme w6", ["w6-palettized"]),
        ("edgenext export --format tf", ["tflite"]),
        ("edgenext bench --device je", ["jetson"]),
    ],
)
def test_values_are_completed(tmp_path: Path, line: str, words: list[str]) -> None:
    assert completed(line, tmp_path) == words


def test_a_file_that_is_not_there_suggests_the_nearest(cli: Cli) -> None:
    Path("network.onnx").touch()
    Path("mine.toml").touch()
    error = cli.fails(3, "eval", "netwrok.onnx", "--data", "digits")
    assert error.endswith("no artifact at netwrok.onnx. Did you mean network.onnx?")
    assert cli.fails(3, "run", "mine.tml").endswith("Did you mean mine.toml?")
    Path("images").mkdir()
    error = cli.fails(3, "run", "edgenext_xx_small", "--random-weights", "--data", "imgaes")
    assert error.endswith("Did you mean images?")


def test_a_command_alone_shows_the_help(cli: Cli) -> None:
    done = cli.run()
    assert done.code == UsageError.exit_code
    assert done.err.startswith("Usage: edgenext ")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["exprot"], "unknown command 'exprot'. Did you mean export"),
        (["frobnicate"], "unknown command 'frobnicate'"),
        (["devices", "ad"], "unknown command 'ad'. Did you mean add"),
        (["export", "--wieghts", "x"], "--weights"),
        (["export", "--size", "big"], "'--size'"),
        (["eval"], "MODEL|ARTIFACT"),
        (["eval", "edgenext_small"], "eval needs --data. For example: edgenext eval mine-fp32"),
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
