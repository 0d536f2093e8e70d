"""docs/ci.md: its workflow, its commands, its metrics and its exit codes are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from edgenext import api
from edgenext.cli.group import command
from edgenext.errors import INTERRUPTED, EdgenextError
from edgenext.report.ci.metrics import metrics

yaml = pytest.importorskip("yaml", reason="no PyYAML (it comes with the test environment)")

PAGE = Path(__file__).parents[2] / "docs" / "ci.md"


@pytest.fixture(scope="module")
def text() -> str:
    return PAGE.read_text("utf-8")


@pytest.fixture(scope="module")
def steps(text: str) -> list[dict[str, Any]]:
    (workflow,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    document = yaml.safe_load(workflow)
    assert document[True] == ["push", "pull_request"], "YAML reads the key `on` as true"
    (job,) = document["jobs"].values()
    assert job["runs-on"].startswith("ubuntu-")
    found: list[dict[str, Any]] = job["steps"]
    return found


def test_every_step_acts_once(steps: list[dict[str, Any]]) -> None:
    for step in steps:
        assert ("uses" in step) != ("run" in step), step
        assert step.keys() <= {"name", "uses", "run", "with", "if"}
        assert re.fullmatch(r"actions/[\w/-]+@v\d+", step.get("uses", "actions/x@v1"))
        if "if" in step:
            assert step["if"].startswith("${{") and step["if"].endswith("}}")


def commands_of(steps: list[dict[str, Any]], text: str) -> list[list[str]]:
    """The words of every command of edgenext, in the workflow and in console blocks."""
    lines = [line for step in steps for line in step.get("run", "").splitlines()]
    lines += re.findall(r"^\$ (edgenext .*)$", text, re.MULTILINE)
    return [words[1:] for words in map(shlex.split, lines) if words[:1] == ["edgenext"]]


def test_every_command_parses_and_its_condition_too(steps: list[dict[str, Any]], text: str) -> None:
    commands = commands_of(steps, text)
    assert len(commands) == 9
    for name, *words in commands:
        context = command(name).make_context(name, words)
        if condition := context.params.get("fail_if"):
            assert api.read_gate(name, api.CiOptions(condition)).conditions


def test_the_files_that_steps_share_are_those_of_the_run(
    steps: list[dict[str, Any]], tmp_path: Path
) -> None:
    config = api.read_config(api.write_demo_toml(tmp_path / "demo.toml"), {})
    assert config.out == Path("demo")
    runs = "\n".join(step.get("run", "") for step in steps)
    assert "cp demo/run.json demo/predictions.npz baseline/" in runs
    upload = next(step for step in steps if step.get("uses", "").startswith("actions/upload"))
    assert upload["with"]["path"].split() == ["demo/report.html", "junit.xml", "results.csv"]


def test_every_metric_is_in_the_table(text: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert rows == list(metrics())


def test_every_exit_code_is_in_the_table(text: str) -> None:
    def codes(error: type[EdgenextError]) -> set[int]:
        return {error.exit_code}.union(*map(codes, error.__subclasses__()))

    table = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert table == codes(EdgenextError) | {0, INTERRUPTED}
