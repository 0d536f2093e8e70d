from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgenext.devices.request import Asked, fitting
from edgenext.devices.results import report
from edgenext.devices.runners.tools import Burst, Trtexec
from edgenext.devices.runners.vendor_tool import blocks, measure, script, tool_for
from edgenext.devices.transports.link import LinkTransport
from edgenext.devices.transports.local import LocalChannel
from edgenext.errors import ArtifactError, DeviceError
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import Logits
from edgenext.options import BenchOptions
from edgenext.schema import Device, DeviceFacts, EvalTransform, Manifest, TensorSpec
from edgenext.system.progress import quiet

ORIN = {"tools": {"trtexec": "/usr/src/tensorrt/bin/trtexec"}, "software": {"tensorrt": "10.3.0"}}


def artifact(scheme: str, file_format: str = "tensorrt") -> Artifact:
    manifest = Manifest(
        file=f"{scheme}.onnx",
        format=file_format,
        scheme=scheme,
        form="convT",
        target="jetson",
        arch="edgenext_xx_small",
        num_classes=3,
        eval=EvalTransform(size=32),
        input=TensorSpec(name="input", shape=(1, 3, 32, 32), dtype="float32"),
        outputs=(TensorSpec(name="logits", shape=(1, 3), dtype="float32"),),
        sha256=(scheme.encode().hex() + "0" * 64)[:64],
        size_bytes=1,
        source={},
        tools={},
    )
    return Artifact(Path(manifest.file), manifest)


def asked(*schemes: str, unit: str = "", file_format: str = "tensorrt", **facts: object) -> Asked:
    return Asked(
        Device(name="orin", kind="jetson", ssh="a@b"),
        DeviceFacts(kind="jetson", model="Jetson Nano", **facts),
        tuple(artifact(s, file_format) for s in schemes),
        None,
        BenchOptions(unit=unit, rounds=2),
    )


def test_a_gpu_without_int8_measures_the_others_and_says_so() -> None:
    found = fitting(asked("fp32", "fp16", "w8a8-static", int8=False))
    assert [a.manifest.scheme for a in found.artifacts] == ["fp32", "fp16"]
    assert found.facts.notes == ("Jetson Nano has no fast INT8: w8a8-static was not measured",)
    with pytest.raises(ArtifactError, match=r"no fast INT8.*Measure an fp16 file"):
        fitting(asked("w8a8-static", int8=False))
    for same in (
        asked("w8a8-static", int8=None),
        asked("w8a8-static", int8=True),
        asked("w8a8-static", int8=False, unit="cpu"),
    ):
        assert fitting(same) is same


def test_tools_are_taken_where_they_are_better() -> None:
    assert isinstance(tool_for(asked("fp32", **ORIN)), Trtexec)
    assert tool_for(asked("fp32", unit="cpu", **ORIN)) is None
    assert tool_for(asked("fp32")) is None
    with pytest.raises(ArtifactError, match="TensorRT takes ONNX, not tflite"):
        tool_for(asked("fp32", file_format="tflite", **ORIN))


def test_an_engine_is_another_ones_with_another_mode() -> None:
    one, two = (
        Trtexec(asked("fp16", power_mode=mode, **ORIN)).engine(artifact("fp16"), "store")
        for mode in ("15W", "MAXN")
    )
    assert one != two


def test_precisions_are_asked_for_by_scheme() -> None:
    tool = Trtexec(asked("fp32", **ORIN))
    lines = {s: tool.prepare(artifact(s), "x", "s")[1] for s in ("fp32", "fp16", "w8a8-static")}
    assert "--fp16" not in lines["fp32"] and "--int8" not in lines["fp32"]
    assert "--fp16" in lines["fp16"] and "--int8" not in lines["fp16"]
    assert "--fp16" in lines["w8a8-static"] and "--int8" in lines["w8a8-static"]


def test_a_failure_is_told_in_the_tools_words() -> None:
    tool = Trtexec(asked("fp32", **ORIN))
    log = "[11/24/2026-10:00:00] [E] In node 7: INVALID_NODE\n&&&& FAILED TensorRT.trtexec"
    with pytest.raises(DeviceError, match="trtexec cannot run fp32: In node 7: INVALID_NODE"):
        tool.burst(artifact("fp32"), log)
    passed = "&&&& PASSED TensorRT.trtexec [TensorRT v100300]\n\ntimes.json\n[{"
    with pytest.raises(DeviceError, match="trtexec wrote no times of fp32"):
        tool.burst(artifact("fp32"), passed)


def test_a_script_is_read_back_block_by_block() -> None:
    lines = ["greeting", "", "== abc round x 0", "one", "two", "", "== abc done", "== xyz no"]
    found = list(blocks(iter(lines), "abc"))
    assert [b.words for b in found] == [("round", "x", "0"), ("done",)]
    assert found[0].text == "one\ntwo\n"
    text = script(asked("fp16", **ORIN), Trtexec(asked("fp16", **ORIN)), ["p q"], [], "s t")
    assert "'--onnx=p q'" in text


class Echo:
    """A tool that takes no time: what it does is in the shell."""

    runtime = "echo"

    def prepare(self, _artifact: Artifact, path: str, _store: str, /) -> tuple[str, str]:
        return path, "echo made"

    def time(self, model: str) -> str:
        return f"echo ran; sleep 0.3; [ -s '{model}' ]"

    def infer(self, *_: object) -> str:
        raise AssertionError("nothing is scored here")

    def burst(self, _: Artifact, text: str) -> Burst:
        assert "ran" in text
        return Burst((1.0, 2.0))

    def logits(self, *_: object) -> Logits:
        raise AssertionError("nothing is scored here")


def test_rounds_of_a_tool_go_on_for_their_time_and_say_when_they_ended(tmp_path: Path) -> None:
    request = asked("fp32", "fp16")
    files = tuple(Artifact(tmp_path / a.path.name, a.manifest) for a in request.artifacts)
    for file in files:
        file.path.write_text(file.path.name)
    how = BenchOptions(rounds=1, sustained_s=2)
    request = replace(request, artifacts=files, how=how)
    with LinkTransport(LocalChannel(str(tmp_path / "root"))) as link:
        found = measure(link, request, Echo(), tmp_path, quiet)
    assert found.done
    for file in files:
        mine = found.artifacts[file.manifest.sha256]
        assert mine.ready and mine.ready.artifact == file.manifest.sha256
        assert len(mine.rounds) == len(mine.at_s) > 1
        assert list(mine.at_s) == sorted(mine.at_s) and mine.at_s[-1] >= 1  # whole seconds
    rows = report(request, found, request.facts, tmp_path).results
    assert all(row.sustained and row.sustained.seconds >= 1 for row in rows)
