"""Every command of a console block in README, CONTRIBUTING and docs/."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from typing import Any

import pytest
from console_blocks import ROOT, Typed, pages

from edgenext import api
from edgenext.cli.group import command, listed

PAGES = sorted(pages())
BASH = shutil.which("bash") or "bash"


@pytest.fixture(scope="module")
def make_targets() -> set[str]:
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))


@pytest.fixture(scope="module")
def extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return set(project["optional-dependencies"])


@pytest.mark.parametrize("page", PAGES)
def test_every_command_can_be_typed(page: str, make_targets: set[str], extras: set[str]) -> None:
    for typed in pages()[page]:
        shell = subprocess.run([BASH, "-n", "-c", typed.text], capture_output=True, text=True)
        assert shell.returncode == 0, f"{typed}: {shell.stderr}"
        for program, *words in typed.parts:
            if program == "edgenext":
                require_parsed(typed, words)
            elif program == "make":
                assert set(words) <= make_targets, typed
            else:
                named = {name for word in words for name in re.findall(r"edgenext\[(.*)\]", word)}
                assert {extra for names in named for extra in names.split(",")} <= extras, typed


def require_parsed(typed: Typed, words: list[str]) -> None:
    """The command, its options and their values exist."""
    names = [word for word in words if not word.startswith("-")]
    if not names:  # options of edgenext itself
        assert {"-h", "--help", "--version", "--install-completion"} & {*words}, typed
        return
    name = names[0]
    assert name in listed(), typed
    words = words[words.index(name) + 1 :]
    if {"-h", "--help"} & {*words}:
        return
    parsed = command(name)
    if inner := getattr(parsed, "commands", None):
        assert words and words[0] in inner, typed
        name, parsed, words = f"{name} {words[0]}", inner[words[0]], words[1:]
    try:
        context = parsed.make_context(name, list(words))
    except Exception as e:  # of Typer, whose classes differ between versions
        raise AssertionError(f"{typed}: {e}") from e
    require_known_values(typed, parsed, context)
    if condition := context.params.get("fail_if"):
        images = bool(context.params.get("data"))
        assert api.read_gate(name, api.CiOptions(condition), has_images=images).conditions, typed


def require_known_values(typed: Typed, parsed: Any, context: Any) -> None:
    """Where a shell completes an option's value, the value is one of those."""
    for parameter in parsed.get_params(context):
        known = {item.value for item in parameter.shell_complete(context, "")}
        value = context.params.get(parameter.name)
        if known and value:
            values = set(value if isinstance(value, list | tuple) else [value])
            assert values <= known or parameter.name == "device", (str(typed), values - known)
