"""trtexec's command lines, logs and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenext.devices.runners import trtexec

SAMPLES = Path(__file__).parent / "samples" / "trtexec"


def sample(name: str) -> str:
    return (SAMPLES / name).read_text()


def trace(rows: list[tuple[float, float]]) -> str:
    """A file of times as sampleReporting.cpp writes it, from starts and durations."""
    lines = [
        f'{{ "startEnqMs" : 0.1, "endEnqMs" : 0.2, "startH2dMs" : 0, "endH2dMs" : 0, '
        f'"startComputeMs" : {start:g}, "endComputeMs" : {start + ms:g}, "startD2hMs" : 0, '
        f'"endD2hMs" : 0, "h2dMs" : 0, "computeMs" : {ms:g}, "d2hMs" : 0, "latencyMs" : {ms:g} }}'
        for start, ms in rows
    ]
    return "[\n  " + "\n, ".join(lines) + "\n]\n"


@pytest.mark.parametrize(
    ("version", "workspace", "skip"),
    [
        ("8.0.1", "--workspace=1024", "--buildOnly"),
        ("8.2.1", "--workspace=1024", "--buildOnly"),
        ("8.4.1", "--memPoolSize=workspace:1024", "--buildOnly"),
        ("8.5.2", "--memPoolSize=workspace:1024", "--buildOnly"),
        ("8.6.2", "--memPoolSize=workspace:1024", "--skipInference"),
        ("10.3.0", "--memPoolSize=workspace:1024", "--skipInference"),
        ("10.16.2", "--memPoolSize=workspace:1024", "--skipInference"),
        ("", "--memPoolSize=workspace:1024", "--skipInference"),
    ],
)
def test_build_command_by_version(version: str, workspace: str, skip: str) -> None:
    command = trtexec.build_command(
        "/usr/src/tensorrt/bin/trtexec",
        "a b.onnx",
        "a.engine",
        version,
        fp16=True,
        int8=True,
        workspace_mb=1024,
        timing_cache="cache",
        shapes={"images": (1, 3, 64, 64)},
    )
    assert command[:5] == [
        "/usr/src/tensorrt/bin/trtexec",
        "--onnx=a b.onnx",
        "--saveEngine=a.engine",
        "--fp16",
        "--int8",
    ]
    assert command[5:7] == [workspace, "--timingCacheFile=cache"]
    assert command[7:10] == [f"--{k}Shapes=images:1x3x64x64" for k in ("min", "opt", "max")]
    assert command[10:] == [skip, "--profilingVerbosity=detailed"]


def test_a_plain_build() -> None:
    command = trtexec.build_command("trtexec", "a.onnx", "a.engine", "10.3.0")
    assert not any(part.startswith(("--fp16", "--int8", "--memPool", "--min")) for part in command)


def test_time_command() -> None:
    command = trtexec.time_command(
        "trtexec", "a.engine", warmup_ms=200, seconds=5, iterations=30, times="t.json"
    )
    assert command == [
        *("trtexec", "--loadEngine=a.engine", "--warmUp=200", "--duration=5", "--iterations=30"),
        *("--avgRuns=1", "--useSpinWait", "--noDataTransfers", "--exportTimes=t.json"),
    ]
    command = trtexec.time_command(
        "trtexec", "a.engine", profile="p.json", inputs={"x": "x.bin", "y": "y.bin"}, outputs="o"
    )
    assert "--noDataTransfers" not in command
    assert command[-4:] == [
        "--loadInputs=x:x.bin,y:y.bin",
        "--exportProfile=p.json",
        "--exportOutput=o",
        "--separateProfileRun",
    ]


def test_times_without_the_warm_up() -> None:
    text = trace([(10.0, 9.5), (199.9, 3.0), (200.0, 2.5), (203.1, 2.25), (1e6, 2.0)])
    assert trtexec.parse_times(text, 200.0) == [2.5, 2.25, 2.0]
    assert trtexec.parse_times("[\n]\n", 200.0) == []


@pytest.mark.parametrize(
    "text",
    [
        *("", "[", "{}x", "null", "3", '{"a": 1}', "[1]", '[{"computeMs": 1}]', "[" * 100_000),
        trace([(1, 2), (3, 4)])[:150],
        *(f'[{{"startComputeMs": 1, "computeMs": {ms}}}]' for ms in ('"x"', "NaN", "9" * 500)),
    ],
)
def test_what_is_no_file_of_times(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as e:
        trtexec.parse_times(text, 0.0)
    assert type(e.value) is not RecursionError


def test_profiles_of_both_versions() -> None:
    (layer,) = trtexec.parse_profile(sample("profile_10.json"))
    assert layer == trtexec.LayerTime("/conv1/Conv + /act1/Relu", 0.0280382, 0.027872, 100.0)
    layers = trtexec.parse_profile(sample("profile_8.json"))
    assert len(layers) == 5
    assert layers[2].name == "Conv_4 + PWN(Clip_7)"
    assert layers[2].mean_ms == 0.109295
    assert layers[2].median_ms is None


def test_names_need_not_be_json() -> None:
    name = r'{ForeignNode["a"..."b\c" : 1 }]", "timeMs" : 7'
    text = sample("profile_10.json").replace("/conv1/Conv + /act1/Relu", name)
    (layer,) = trtexec.parse_profile(text)
    assert layer.name == name
    assert layer.mean_ms == 0.0280382


def test_a_cut_profile_keeps_whole_layers() -> None:
    text = sample("profile_8.json")
    assert len(trtexec.parse_profile(text[: text.index("Conv_8") + 40])) == 3
    with pytest.raises(ValueError, match="not a file of layers"):
        trtexec.parse_profile(text[:60])


def test_outputs() -> None:
    outputs = trtexec.parse_outputs(sample("outputs.json"))
    assert list(outputs) == ["probs_phone", "probs_headset", "probs_gaze"]
    assert outputs["probs_headset"].shape == (1, 3)
    np.testing.assert_allclose(outputs["probs_headset"], [[0.79014, 0.206794, 0.00306536]])


def test_outputs_that_are_no_numbers_are_kept() -> None:
    text = sample("outputs.json").replace("0.79014, 0.206794", "-nan, inf")
    values = trtexec.parse_outputs(text)["probs_headset"][0]
    assert np.isnan(values[0])
    assert np.isinf(values[1])


@pytest.mark.parametrize("text", ["", "[]", "null", sample("outputs.json")[:100], "x]"])
def test_what_is_no_file_of_outputs(text: str) -> None:
    with pytest.raises(ValueError, match="outputs"):
        trtexec.parse_outputs(text)


def test_outputs_of_another_shape_than_they_say() -> None:
    with pytest.raises(ValueError, match="reshape"):
        trtexec.parse_outputs(sample("outputs.json").replace("1x3", "1x4"))


def test_a_log_that_passed() -> None:
    log = trtexec.parse_log(sample("passed_8.4.txt"))
    assert (log.passed, log.version, log.errors) == (True, "8.4.0", ())
    assert log.throughput_qps == 41087.7
    assert log.gpu_ms == {
        "min": 0.375977,
        "max": 0.403564,
        "mean": 0.388221,
        "median": 0.388443,
        "99%": 0.393188,
    }
    assert log.unstable_percent is None


def test_an_unstable_run() -> None:
    log = trtexec.parse_log(sample("unstable_10.7.txt"))
    assert (log.passed, log.version) == (True, "10.7.0")
    assert log.unstable_percent == 6.9008
    assert len(log.warnings) == 2


def test_why_a_build_failed() -> None:
    log = trtexec.parse_log(sample("failed_build_10.3.txt"))
    assert (log.passed, log.version) == (False, "10.3.0")
    assert "Cask convolution isConsistent check failed" in log.errors[0]
    assert log.errors[-1] == "Engine set up failed"
    options = trtexec.parse_log(sample("failed_options_10.3.txt"))
    assert options.errors == (
        "Unknown option: --workspace 2048",
        "Unknown option: --buildOnly",
        "Unknown option: --explicitBatch",
    )


def test_a_log_that_was_cut() -> None:
    text = "&&&& RUNNING TensorRT.trtexec [TensorRT v101602] [b10] # trtexec\n[E] Error[1]: no"
    log = trtexec.parse_log(text)
    assert (log.passed, log.version, log.errors) == (None, "10.16.2", ("Error[1]: no",))


@pytest.mark.parametrize("text", ["", "bash: trtexec: command not outputs", "\x00\xff" * 1000])
def test_other_logs_say_nothing(text: str) -> None:
    assert trtexec.parse_log(text) == trtexec.TrtexecLog(None)


WORDS = st.lists(
    st.sampled_from(
        [
            *(sample("passed_8.4.txt").splitlines()),
            *(sample("profile_8.json").splitlines()),
            *(sample("outputs.json").splitlines()),
            "&&&& FAILED TensorRT.trtexec [TensorRT v9999999]",
        ]
    )
    | st.text()
).map("\n".join)


@given(WORDS)
def test_logs_never_raise(text: str) -> None:
    trtexec.parse_log(text)


@given(WORDS)
def test_files_raise_value_errors_alone(text: str) -> None:
    for read in (
        lambda t: trtexec.parse_times(t, 1.0),
        trtexec.parse_profile,
        trtexec.parse_outputs,
    ):
        try:
            read(text)
        except ValueError:
            continue
