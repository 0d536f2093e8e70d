"""Completion in real shells: what is installed completes what is typed at a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_calls import PATIENCE_S, environment

QUIET_S = 2.0
"""A shell that writes nothing for so long has shown its prompt, or completed."""
COMMAND = """\
#!/bin/sh
if [ -z "$_EDGENEXT_COMPLETE" ]; then
    case "$1" in --install*|--show*) ;; *) printf '%s\\n' "$*" >> "$HOME/typed"; exit 0 ;; esac
fi
exec {python} -m edgenext "$@"
"""
"""The command: it notes what it is called with, and completes as the real one."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the command on the path, where a shell looks for its settings."""
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "edgenext"
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    return tmp_path


def variables(home: Path) -> dict[str, str]:
    own = {"HOME": str(home), "SHELL": "/bin/bash", "TERM": "xterm"}
    return environment(home) | own | {"PATH": f"{home / 'bin'}:{os.environ['PATH']}"}


def edgenext(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [home / "bin" / "edgenext", *args], env=variables(home), capture_output=True, text=True
    )


def typed(home: Path, shell: str, text: str) -> str:
    """What the command was called with when text and a tab were typed into an interactive shell."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [shell, "-i"],
        env=variables(home),
        cwd=home,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    os.set_blocking(master, False)
    notes, end, screen = home / "typed", time.monotonic() + PATIENCE_S, b""
    keys, seen_s = [f"{text}\t", "\r"], time.monotonic()
    try:
        while not notes.exists():
            assert time.monotonic() < end, screen.decode(errors="replace")
            time.sleep(0.1)
            with contextlib.suppress(BlockingIOError):
                screen += os.read(master, 1 << 16)
                seen_s = time.monotonic()
            if screen and keys and time.monotonic() - seen_s > QUIET_S:
                os.write(master, keys.pop(0).encode())
                seen_s = time.monotonic()
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return notes.read_text().strip()


def test_bash_completes_what_is_typed(home: Path) -> None:
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    done = edgenext(home, "--install-completion", "bash")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.startswith(f"bash completion installed in {home}")
    assert typed(home, "bash", "edgenext sea") == "search"
    (home / "typed").unlink()
    line = "quantize --target coreml --scheme w6"
    assert typed(home, "bash", f"edgenext {line}") == f"{line}-palettized"


@pytest.mark.parametrize(
    ("shell", "script"),
    [("zsh", ".zfunc/_edgenext"), ("fish", ".config/fish/completions/edgenext.fish")],
    ids=["zsh", "fish"],
)
def test_other_shells_read_what_is_installed(home: Path, shell: str, script: str) -> None:
    done = edgenext(home, "--install-completion", shell)
    assert done.stdout.startswith(f"{shell} completion installed in {home / script}"), done
    words = {"_TYPER_COMPLETE_ARGS": "edgenext sea", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    asked = subprocess.run(
        [home / "bin" / "edgenext"],
        env=variables(home) | words | {"_EDGENEXT_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
    )
    assert "search" in asked.stdout and "sensitivity" not in asked.stdout
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", home / script], env=variables(home), check=True)


def test_the_shell_is_the_one_that_is_named(home: Path) -> None:
    for shell, word in (("zsh", "#compdef edgenext"), ("fish", "complete"), ("bash", "COMPREPLY")):
        assert word in edgenext(home, "--show-completion", shell).stdout
    for place in (".zshrc", ".bashrc"):
        assert not (home / place).exists()
    assert "fish" in edgenext(home, "--install-completion", "fish").stdout
    assert list((home / ".config" / "fish").rglob("edgenext.fish"))
    done = edgenext(home, "--install-completion", "tcsh")
    assert done.returncode == 2 and "'tcsh' is not one of 'bash'" in done.stderr
    (home / ".bash_completions").touch()
    done = edgenext(home, "--install-completion", "bash")
    assert done.returncode == 6 and done.stderr.startswith("edgenext: cannot write")
