"""Every command of a console block in README, CONTRIBUTING and docs/."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from typing import Any

import pytest
from console_blocks import ROOT, Typed, files_of, pages, read, table, texts

from edgenext import api
from edgenext.cli.group import command, listed
from edgenext.errors import EdgenextError

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


WORKFLOWS = {
    f"{page}-{i}": workflow
    for page, text in texts().items()
    for i, workflow in enumerate(re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S))
}


@pytest.mark.parametrize("where", WORKFLOWS)
def test_every_step_of_a_workflow_can_be_typed(where: str) -> None:
    yaml = pytest.importorskip("yaml", reason="no PyYAML (it comes with the test environment)")
    jobs = yaml.safe_load(WORKFLOWS[where])["jobs"]
    lines = [
        line
        for job in jobs.values()
        for step in job["steps"]
        for line in step.get("run", "").splitlines()
    ]
    typed = [Typed(where, line, ()) for line in lines]
    commands = [(t, words) for t in typed for program, *words in t.parts if program == "edgenext"]
    assert commands
    files = set(files_of(where.rpartition("-")[0]))
    for command_line, words in commands:
        require_parsed(command_line, words)
        if words[:2] == ["demo", "--toml"]:
            files.add(words[2])
        if words[0] == "run" and words[1].endswith(".toml"):
            assert words[1] in files, f"{command_line}: no step before it writes {words[1]}"


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
        images = name == "run" or bool(context.params.get("data"))
        assert api.read_gate(name, api.CiOptions(condition), has_images=images).conditions, typed


def require_known_values(typed: Typed, parsed: Any, context: Any) -> None:
    """Where a shell completes an option's value, the value is one of those."""
    for parameter in parsed.get_params(context):
        known = {item.value for item in parameter.shell_complete(context, "")}
        value = context.params.get(parameter.name)
        if known and value:
            values = set(value if isinstance(value, list | tuple) else [value])
            assert values <= known or parameter.name == "device", (str(typed), values - known)


@pytest.mark.parametrize(
    "text",
    [
        "edgenext rnu edgenext_small --data x",
        "edgenext run edgenext_small --dta x",
        "edgenext export --opset many",
        "edgenext quantize --scheme w4a4",
        "edgenext compare a.onnx b.onnx --data x --fail-if 'dorp > 1'",
        "edgenext devices ad orin",
        "edgenext eval a.onnx --data x && edgenext report a b --agianst c",
    ],
)
def test_a_command_that_cannot_be_typed_is_found(text: str) -> None:
    typed = Typed("page.md", text, ())
    with pytest.raises((AssertionError, EdgenextError)):
        for _, *words in typed.parts:
            require_parsed(typed, words)


def test_what_is_not_run_is_said_with_a_reason() -> None:
    for pattern, reason in table()["not_run"].items():
        assert len(str(reason)) > 5, pattern
    pages_named = set(table()["pages"]) - {"*"}
    assert pages_named <= set(pages()), "a page that has no console block"


def test_blocks_are_read_with_outputs_comments_and_continued_lines() -> None:
    lines = ("```console", "$ a --b \\", "    c    # why", "printed", "$ d | e", "```")
    text = "1. A step:\n" + "".join(f"   {line}\n" for line in lines)
    assert [(t.text, t.output) for t in read("x.md", text)] == [
        ("a --b c", ("printed",)),
        ("d | e", ()),
    ]
    assert Typed("x.md", "d -x 'a | b' | e && f", ()).parts == [["d", "-x", "a | b"], ["e"], ["f"]]
