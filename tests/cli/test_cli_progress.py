"""How far a command is: on a real terminal, in a pipe, with --quiet, and in its own steps."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_calls import CONFIG, FP32, INT8, MODEL, environment
from rich.console import Console

from edgenext import api
from edgenext.cli import progress as progress_module
from edgenext.cli.progress import shown_progress
from edgenext.system import durations
from edgenext.system.progress import Step, StepProgress

Artifacts = Callable[..., list[Path]]
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(folder: Path, *args: object) -> tuple[str, str, int]:
    """Standard output of a command in a pipe, what it showed on a terminal, and its exit code."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgenext", *map(str, args)],
        cwd=folder,
        env=environment(folder) | {"TERM": "xterm", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
    )
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    out, _ = process.communicate(timeout=60)
    os.close(master)
    return out, CONTROL.sub("", shown.decode(errors="replace")), process.returncode


def test_a_terminal_shows_steps_and_standard_output_stays_clean(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    artifacts(FP32, INT8)
    command = ("compare", FP32, INT8, "--data", "digits", "--limit", "100", "--json")
    out, shown, code = on_a_terminal(tmp_path, *command)
    assert code == 0, shown
    assert json.loads(out)["n"] == 100
    assert "loading" in shown
    for number, name in ((2, FP32), (3, INT8)):
        assert f"step {number} of 3: evaluating {name.removesuffix('.onnx')}" in shown
    assert "left:" in shown and "/100" in shown


def test_a_converter_at_work_is_said_to_be(artifacts: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    key = "openvino convert fp32 edgenext_xx_small 32"
    (tmp_path / "cache" / durations.FILE).write_text(json.dumps({key: 125.4}))
    out, shown, code = on_a_terminal(
        tmp_path, "export", *MODEL, "--format", "onnx", "--format", "openvino"
    )
    assert code == 0, shown
    assert [line.split()[0] for line in out.splitlines() if "MiB  fp32" in line] == [
        FP32,
        FP32.replace(".onnx", ".xml"),
    ]
    task = "converting to OpenVINO (the last time: 2 min 5 s)"
    line = next(line for line in shown.split("\r") if task in line)
    assert f"step 2 of 2: export openvino: {task}" in line
    assert "100%" not in line and "/" not in line.partition(task)[2], "no bar of another task"


def test_a_pipe_is_told_of_what_takes_long_and_of_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress_module, "FIRST_LINE_S", 0.2)
    stream = io.StringIO()
    console = Console(file=stream, width=200)
    with (
        shown_progress(console, quiet=False) as progress,
        progress.steps("decoding *", "converting to *"),
    ):
        progress("decoding photos", 5, 5)
        for _ in range(8):
            progress("converting to [Core ML]", 0, 0)
            time.sleep(0.1)
    assert stream.getvalue().splitlines() == ["… step 2 of 2: converting to [Core ML], for 0 s"]
    stream.truncate(0)
    with shown_progress(Console(file=stream), quiet=True) as progress:
        progress("calibrating", 0, 0)
        time.sleep(0.3)
    assert not stream.getvalue().strip("\0")


def test_tasks_belong_to_the_steps_of_the_outer_plan() -> None:
    steps: list[Step] = []
    progress = StepProgress(on_step=steps.append)
    progress("before", 0, 0)
    with progress.steps("a", "b *", "c"):
        progress("loading", 0, 0)
        progress("a", 1, 2)
        progress("a", 2, 2)
        with progress.steps("x", "y"):
            progress("x", 0, 0)
            progress("b 1", 0, 0)
            progress("b 2", 0, 0)
        progress("a", 1, 2)
        progress("c", 0, 0)
    progress("c", 0, 0)
    assert steps == [Step(1, 3, "a"), Step(2, 3, "b 1"), Step(3, 3, "c")]


def test_the_time_that_work_took_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path))
    monkeypatch.setattr(durations, "SHORTEST_S", 0.05)
    told: list[str] = []
    for file in ("", "not JSON", '["a list"]'):
        if file:
            (tmp_path / durations.FILE).write_text(file)
        for _ in range(2):
            with durations.timed(lambda task, *_: told.append(task), "work", "key"):
                time.sleep(0.1)
    assert told == ["work", "work (the last time: 0 s)"] * 3
    assert durations.duration(125) == "2 min 5 s"
    (tmp_path / durations.FILE).unlink()
    (tmp_path / durations.FILE).mkdir()  # a cache that cannot be written is no error
    with durations.timed(lambda task, *_: told.append(task), "work", "key"):
        time.sleep(0.1)
    assert told[-1] == "work"


@pytest.mark.campaign
def test_commands_reach_the_last_of_their_steps(artifacts: Artifacts, tmp_path: Path) -> None:
    """Every command's plan fits the tasks that its parts report."""
    files = artifacts(FP32, INT8)
    model = api.ModelOptions(random_weights=True, num_classes=10, size=32)
    calib = api.QuantizeOptions(calib="digits", n=8)
    data = api.DataOptions("digits", limit=20)
    out = tmp_path / "out"
    calls: dict[str, Callable[[api.Context], object]] = {
        "export": lambda c: api.export(MODEL[0], model, out=out, context=c),
        "quantize": lambda c: api.quantize(MODEL[0], calib, model, out=out, context=c),
        "evaluate": lambda c: api.evaluate(files, data, context=c),
        "bench": lambda c: api.bench(
            files, data=data, bench_options=api.BenchOptions(rounds=1), context=c
        ),
        "diff": lambda c: api.diff(*files, data, context=c),
        "sensitivity": lambda c: api.sensitivity(
            files[0], calib, limit=8, site="stages.0.0.dwconv", context=c
        ),
        "verify": lambda c: api.verify(out / FP32, model, rebuild=True, context=c),
    }
    for name, call in calls.items():
        steps: list[Step] = []
        call(api.Context(StepProgress(on_step=steps.append)))
        numbers = [step.number for step in steps]
        assert numbers == sorted(set(numbers)), name
        assert steps[-1].number == steps[-1].total > 1, (name, steps)


def test_a_run_counts_its_stages(ran: Path) -> None:
    steps: list[Step] = []
    Path("demo.toml").write_text(CONFIG.format(n=16))
    context = api.Context(StepProgress(on_step=steps.append))
    api.run(api.read_config(Path("demo.toml")), context=context)
    assert [step.name for step in steps if "decoding" not in step.name] == [
        *("export plain", "export", "quantize, edgenext", "evaluate", "benchmark", "report")
    ]
    assert (steps[-1].number, steps[-1].total) == (7, 7)
