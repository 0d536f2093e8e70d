"""Requests: the artifacts and the tool that measure them, and the tool's script and rounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from devices.sample_requests import artifact, request_for

from edgenext.devices.link import DeviceLink
from edgenext.devices.request import DeviceRequest, without_slow_int8
from edgenext.devices.results import device_report
from edgenext.devices.runners.tools import ToolRound, TrtexecTool
from edgenext.devices.runners.vendor_tool import (
    job_script,
    measure_with_tool,
    read_steps,
    tool_for,
)
from edgenext.devices.transports.local import LocalChannel
from edgenext.errors import ArtifactError, DeviceError
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import Logits
from edgenext.options import BenchOptions
from edgenext.schema import DeviceFacts
from edgenext.system.progress import quiet

ORIN = {"tools": {"trtexec": "/usr/src/tensorrt/bin/trtexec"}, "software": {"tensorrt": "10.3.0"}}


def jetson_request(
    *schemes: str, unit: str = "", format_: str = "tensorrt", **facts: object
) -> DeviceRequest:
    return request_for(
        DeviceFacts(kind="jetson", model="Jetson Nano", **facts),
        *schemes,
        options=BenchOptions(unit=unit, rounds=2),
        format_=format_,
    )


def test_a_gpu_without_int8_measures_the_others_and_says_so() -> None:
    request = without_slow_int8(jetson_request("fp32", "fp16", "w8a8-static", int8=False))
    assert [a.manifest.scheme for a in request.artifacts] == ["fp32", "fp16"]
    assert request.facts.notes == ("Jetson Nano has no fast INT8: w8a8-static was not measured",)
    with pytest.raises(ArtifactError, match=r"no fast INT8.*Measure an fp16 file"):
        without_slow_int8(jetson_request("w8a8-static", int8=False))
    for same in (
        jetson_request("w8a8-static", int8=None),
        jetson_request("w8a8-static", int8=True),
        jetson_request("w8a8-static", int8=False, unit="cpu"),
    ):
        assert without_slow_int8(same) is same


def test_tools_are_taken_where_they_are_better() -> None:
    assert isinstance(tool_for(jetson_request("fp32", **ORIN)), TrtexecTool)
    assert tool_for(jetson_request("fp32", unit="cpu", **ORIN)) is None
    assert tool_for(jetson_request("fp32")) is None
    with pytest.raises(ArtifactError, match="TensorRT takes ONNX, not tflite"):
        tool_for(jetson_request("fp32", format_="tflite", **ORIN))


def test_an_engine_is_another_ones_with_another_mode() -> None:
    one, two = (
        TrtexecTool(jetson_request("fp16", power_mode=mode, **ORIN)).engine(
            artifact("fp16"), "store"
        )
        for mode in ("15W", "MAXN")
    )
    assert one != two


def test_precisions_follow_the_scheme() -> None:
    tool = TrtexecTool(jetson_request("fp32", **ORIN))
    lines = {s: tool.prepare(artifact(s), "x", "s")[1] for s in ("fp32", "fp16", "w8a8-static")}
    assert "--fp16" not in lines["fp32"] and "--int8" not in lines["fp32"]
    assert "--fp16" in lines["fp16"] and "--int8" not in lines["fp16"]
    assert "--fp16" in lines["w8a8-static"] and "--int8" in lines["w8a8-static"]


def test_an_error_quotes_the_tool() -> None:
    tool = TrtexecTool(jetson_request("fp32", **ORIN))
    log = "[11/24/2026-10:00:00] [E] In node 7: INVALID_NODE\n&&&& FAILED TensorRT.trtexec"
    with pytest.raises(DeviceError, match="trtexec cannot run fp32: In node 7: INVALID_NODE"):
        tool.read_round(artifact("fp32"), log)
    passed = "&&&& PASSED TensorRT.trtexec [TensorRT v100300]\n\ntimes.json\n[{"
    with pytest.raises(DeviceError, match="trtexec wrote no times of fp32"):
        tool.read_round(artifact("fp32"), passed)


def test_a_script_is_read_back_step_by_step() -> None:
    lines = ["greeting", "", "== abc round x 0", "one", "two", "", "== abc done", "== xyz no"]
    steps = list(read_steps(iter(lines), "abc"))
    assert [step.words for step in steps] == [("round", "x", "0"), ("done",)]
    assert steps[0].text == "one\ntwo\n"
    text = job_script(
        jetson_request("fp16", **ORIN),
        TrtexecTool(jetson_request("fp16", **ORIN)),
        ["p q"],
        [],
        "s t",
    )
    assert "'--onnx=p q'" in text


class Echo:
    """A tool that takes no time: all its work is in the shell."""

    def prepare(self, _artifact: Artifact, path: str, _store: str, /) -> tuple[str, str]:
        return path, "echo made"

    def time(self, model: str) -> str:
        return f"echo ran; sleep 0.3; [ -s '{model}' ]"

    def infer(self, *_: object) -> str:
        raise AssertionError("nothing is scored here")

    def read_round(self, _: Artifact, text: str) -> ToolRound:
        assert "ran" in text
        return ToolRound((1.0, 2.0), "echo")

    def read_logits(self, *_: object) -> Logits:
        raise AssertionError("nothing is scored here")


def test_rounds_of_a_tool_go_on_for_their_time_and_say_when_they_ended(tmp_path: Path) -> None:
    request = jetson_request("fp32", "fp16")
    files = tuple(Artifact(tmp_path / a.path.name, a.manifest) for a in request.artifacts)
    for file in files:
        file.path.write_text(file.path.name)
    options = BenchOptions(rounds=1, sustained_s=2)
    request = replace(request, artifacts=files, options=options)
    with DeviceLink(LocalChannel(str(tmp_path / "root"))) as link:
        record = measure_with_tool(link, request, Echo(), tmp_path, quiet)
    assert record.done
    for file in files:
        measurements = record.artifacts[file.manifest.sha256]
        assert measurements.ready and measurements.ready.artifact == file.manifest.sha256
        assert len(measurements.rounds) == len(measurements.at_s) > 1
        assert (
            list(measurements.at_s) == sorted(measurements.at_s) and measurements.at_s[-1] >= 1
        )  # whole seconds
    rows = device_report(request, record, request.facts, tmp_path).results
    assert all(row.sustained and row.sustained.seconds >= 1 for row in rows)
