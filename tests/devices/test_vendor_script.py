"""The script that measures with a vendor's tool, run by a shell with a tool of a few lines."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from devices.sample_requests import request_for

from edgenext.devices.runners import vendor_tool
from edgenext.devices.runners.tools import ToolRound
from edgenext.options import BenchOptions
from edgenext.schema import DeviceFacts


class EchoTool:
    """A tool that prints the model that it times."""

    def prepare(self, _: Any, path: str, *__: str) -> tuple[str, str]:
        return path, ""

    def time(self, model: str) -> str:
        return f"echo {model}"

    def read_round(self, artifact: Any, text: str) -> ToolRound:
        assert text.strip() == artifact.name
        return ToolRound(samples_ms=(2.0,), load_ms=1.0, runtime="echo")


def test_the_first_file_takes_a_second_turn_in_every_round(tmp_path: Path) -> None:
    request = request_for(
        DeviceFacts(kind="jetson"), "fp32", "w8a8-static", options=BenchOptions(rounds=2)
    )
    tool: Any = EchoTool()
    body = vendor_tool.job_script(request, tool, ["fp32", "w8a8-static"], [], "store")
    script = vendor_tool.say("0123") + body
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    one, two = (a.manifest.sha256 for a in request.artifacts)
    rounds: dict[str, list[ToolRound]] = {one: [], two: []}
    second: list[ToolRound] = []
    words = []
    for step in vendor_tool.read_steps(iter(done.stdout.splitlines()), "0123"):
        words.append(step.words[:2])
        vendor_tool._read_step(step, request, tool, rounds, second, lambda *_: None)
    turns = [w for w in words if w[0] in ("round", "second")]
    assert turns == [("round", one), ("round", two), ("second", one)] * 2
    assert [len(r) for r in (*rounds.values(), second)] == [2, 2, 2]
    assert all(r.ended_s is not None for of_one in (*rounds.values(), second) for r in of_one)
    measurements = vendor_tool._measurements(one, second)
    assert measurements.rounds == ((2.0,), (2.0,))
