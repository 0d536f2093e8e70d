"""LiteRT's benchmark_model: its command line and its log."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenext.devices.runners.benchmark_model import (
    DOWNLOAD,
    BenchmarkModelLog,
    Delegation,
    RunStats,
    benchmark_command,
    parse_log,
)

SAMPLES = Path(__file__).parent / "samples" / "benchmark_model"


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text()


def test_cpu_command() -> None:
    line = benchmark_command("/data/local/tmp/benchmark_model", "a.tflite", threads=4, runs=100)
    assert line == [
        *("/data/local/tmp/benchmark_model", "--graph=a.tflite", "--num_threads=4"),
        *("--num_runs=100", "--warmup_runs=5", "--max_secs=150", "--use_xnnpack=true"),
    ]


def test_delegates() -> None:
    gpu = benchmark_command("b", "a.tflite", unit="gpu")
    assert gpu[-1] == "--use_gpu=true"
    nnapi = benchmark_command("b", "a.tflite", unit="nnapi", accelerator="google-edgetpu")
    assert nnapi[-3:] == [
        "--use_nnapi=true",
        "--disable_nnapi_cpu=true",
        "--nnapi_accelerator_name=google-edgetpu",
    ]
    npu = benchmark_command(
        "b", "a.tflite", unit="npu", library="libQnnTFLiteDelegate.so", options="backend_type:htp"
    )
    assert npu[-2:] == [
        "--external_delegate_path=libQnnTFLiteDelegate.so",
        "--external_delegate_options=backend_type:htp",
    ]
    for line in (gpu, nnapi, npu):
        assert not any("xnnpack" in part for part in line)


def test_inputs_and_outputs() -> None:
    line = benchmark_command(
        "b",
        "a.tflite",
        inputs={"x:0": ((1, 64, 64, 3), "x.bin"), "y": ((1, 2), "y.bin")},
        outputs="o.bin",
        memory=True,
        profile=True,
    )
    assert line[-5:] == [
        "--input_layer=x:0,y",
        "--input_layer_shape=1,64,64,3:1,2",
        "--input_layer_value_files=x::0:x.bin,y:y.bin",
        "--output_filepath=o.bin",
        "--enable_op_profiling=true",
    ]
    assert "--report_peak_memory_footprint=true" in line


def test_a_network_that_runs_completely_on_an_npu() -> None:
    log = parse_log(sample("nnapi_whole"))
    assert log.runs == RunStats(520, 2.531, 1.171, pytest.approx(1.88574), 9.925, 0.87)
    assert log.warmup == RunStats(1, *[637.079] * 4)
    assert (log.init_ms, log.first_ms) == (66.002, 637.079)
    assert (log.init_memory_mb, log.memory_mb) == (7.40234, 7.83203)
    assert log.delegations == (Delegation("TfLiteNnapiDelegate", 31, 31, 1),)
    assert log.applied == {"NNAPI": True}
    assert log.accelerators == ("synap-npu", "nnapi-reference")
    assert log.share == 1.0


def test_percentiles_of_newer_versions() -> None:
    log = parse_log(sample("cpu"))
    assert log.runs is not None
    assert (log.runs.p5_ms, log.runs.median_ms, log.runs.p95_ms) == (105.485, 105.718, 106.281)
    assert log.share is None


def test_peak_memory_and_xnnpack() -> None:
    log = parse_log(sample("cpu_xnnpack"))
    assert log.peak_memory_mb == 93.2383
    assert log.share == 0.0


def test_a_log_of_an_app() -> None:
    log = parse_log(sample("logcat"))
    assert log.runs is not None
    assert log.runs.mean_ms == pytest.approx(2719.85)
    assert log.runs.count == 10
    assert log.memory_mb == 337


def test_a_refusing_delegate_is_detected() -> None:
    log = parse_log(sample("refused"))
    assert log.refused == ("NNAPI",)
    assert log.accelerators == ("nnapi-reference",)
    assert log.share == 0.0
    all_nodes = "VERBOSE: Replacing 31 out of 31 node(s) with delegate (TfLiteNnapiDelegate) node\n"
    assert parse_log(all_nodes + sample("refused")).share == 0.0


def test_a_part_on_the_cpu_is_detected() -> None:
    log = parse_log(sample("two_delegates"))
    assert log.share == pytest.approx(5 / 64)
    assert log.delegations[1] == Delegation("TfLiteXNNPackDelegate", 59, 62, 5)
    gpu = parse_log(sample("gpu_part"))
    assert gpu.share == pytest.approx(123 / 279)
    assert gpu.unsupported == (
        "DEQUANTIZE:",
        "TRANSPOSE_CONV: Max version supported: 3. Requested version 4.",
    )
    part = "Explicitly applied NNAPI delegate, and the model graph will be partially executed by"
    assert parse_log(part).applied == {"NNAPI": False}
    assert parse_log(part).share is None


def test_one_of_two_delegates() -> None:
    log = parse_log(sample("gpu_and_nnapi"))
    assert (log.refused, log.applied, log.share) == (("NNAPI",), {"GPU": True}, 1.0)


def test_xnnpack_that_was_asked_for_is_the_cpu() -> None:
    text = "Explicitly applied XNNPACK delegate, and the model graph will be completely executed\n"
    assert parse_log(text + sample("cpu_xnnpack")).share == 0.0


def test_a_run_that_never_got_past_its_warm_up() -> None:
    log = parse_log("INFO: count=1 curr=7200000\n")
    assert log.runs is None
    assert log.warmup is not None
    assert log.warmup.mean_ms == 7200.0


def test_errors() -> None:
    text = (
        "ERROR: NN API returned error ANEURALNETWORKS_BAD_DATA at line 1132 while adding.\n"
        "ERROR: Failed to apply NNAPI delegate.\n"
    )
    assert parse_log(text).errors[-1] == "Failed to apply NNAPI delegate."
    assert parse_log("x.y E tflite  : Failed to load model\n").errors == ("Failed to load model",)


@pytest.mark.parametrize("text", ["", "\x00\xff" * 100, "sh: benchmark_model: not found", "count="])
def test_other_logs_say_nothing(text: str) -> None:
    assert parse_log(text) == BenchmarkModelLog()
    assert parse_log(text).share is None


@pytest.mark.parametrize("text", ["count={0} a=1", "Replacing {0} out of {0} node(s)", "{0} op"])
def test_huge_numbers_are_passed_over(text: str) -> None:
    assert parse_log(text.format("9" * 200_000)) == BenchmarkModelLog()


def test_where_to_get_the_tool() -> None:
    assert "android_aarch64_benchmark_model" in DOWNLOAD
    assert DOWNLOAD.endswith(".")


@given(st.lists(st.sampled_from(sorted(sample("gpu_part").splitlines())) | st.text()))
def test_any_log_never_raises(lines: list[str]) -> None:
    share = parse_log("\n".join(lines)).share
    assert share is None or 0 <= share <= 1


@given(st.sampled_from(["nnapi_whole", "gpu_and_nnapi", "logcat"]), st.integers(0, 3000))
def test_cut_logs_never_raise(name: str, end: int) -> None:
    parse_log(sample(name)[:end])
