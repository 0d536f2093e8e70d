"""The commands of the docs' console blocks, run in a folder with the names that the docs use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli.cli_calls import call
from console_blocks import SEPARATORS, Page, Typed, files_of, not_run, page_row, pages, table, words
from docs_world import make_world

PAGES = sorted(pages())
BASH = shutil.which("bash") or "bash"
SUITE = [page for page in PAGES if page_row(page).suite]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    return folder


@pytest.fixture
def folder(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the world to run commands in; `edgenext` and `python` are on its shell's path."""
    here = tmp_path / "here"
    shutil.copytree(world, here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGENEXT_DEVICES", str(tmp_path / "devices.json"))
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, command in (
        ("edgenext", f'"{sys.executable}" -m edgenext'),
        ("python", sys.executable),
    ):
        (tools / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    return here


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs(
    page: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_page(page, [t for t in pages()[page] if not not_run(t.text)], capfd)


@pytest.mark.slow
@pytest.mark.parametrize("page", SUITE)
def test_the_quick_commands_of_a_page_run(
    page: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    patterns = page_row(page).suite
    quick = [t for t in pages()[page] if any(re.search(p, t.text) for p in patterns)]
    assert all(any(re.search(p, t.text) for t in quick) for p in patterns), "a pattern of nothing"
    assert not [t for t in quick if not_run(t.text)]
    run_page(page, quick, capfd)


def run_page(page: str, typed: list[Typed], capfd: pytest.CaptureFixture[str]) -> None:
    """Run commands in order, and compare how they end and what they print."""
    row = page_row(page)
    for name, line in row.files.items():
        code, text = run(line, capfd)
        assert code == 0 and Path(name).exists(), f"{page} begins with {name}: {text}"
    for name, text in files_of(page).items():
        Path(name).write_text(replaced(text, row))
    problems = []
    for line in typed:
        text = replaced(line.text, row)
        code, printed = run(text, capfd)
        if code in exit_codes(text):
            problems += not_printed(line, row, printed)
        else:
            problems.append(f"{line}\n  ({text}) ended with {code}:\n{printed}")
    assert not problems, "\n\n".join(problems)


def run(text: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """A line of shell: its exit code and everything that it printed.

    A single command of edgenext runs in this process, which saves the seconds of its imports.
    """
    capfd.readouterr()
    program, *arguments = words(text)
    if program == "cd" and len(arguments) == 1:
        os.chdir(arguments[0])
        code = 0
    elif program == "edgenext" and not {*SEPARATORS} & {*arguments}:
        code = call(*(match for word in arguments for match in expanded(word)))
    else:
        code = subprocess.run([BASH, "-e", "-c", text], check=False).returncode
    return code, "".join(capfd.readouterr())


def expanded(word: str) -> list[str]:
    """What a shell makes of a word with an asterisk."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def replaced(text: str, row: Page) -> str:
    """What is run in place of a text."""
    for pattern, with_ in row.replace.items():
        text = re.sub(pattern, with_, text)
    return text


def exit_codes(text: str) -> list[int]:
    """How a command may end: some say by their exit code what they measured."""
    codes = [0]
    for pattern, more in table()["exit_codes"].items():
        if re.search(pattern, text):
            assert isinstance(more, list)
            codes += more
    return codes


def not_printed(typed: Typed, row: Page, printed: str) -> list[str]:
    """The lines of output that have no like: words of them that do not depend on figures."""
    problems = []
    for line in typed.output:
        expected = line
        for pattern in row.varies:
            expected = re.sub(pattern, " ", expected)
        missing = [w for w in re.findall(r"[A-Za-z][a-z]{2,}", expected) if w not in printed]
        if missing:
            problems.append(f"{typed}\n  prints {line!r}, but not {missing}:\n{printed}")
    return problems
