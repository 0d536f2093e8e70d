"""NVIDIA's `trtexec`: its command lines, its log and the files it writes.

For TensorRT 8.0 to 10, with the names that options have in each version. File formats are those of
NVIDIA/TensorRT `samples/common/sampleReporting.cpp`. All times are in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgenext.system.parsing import parse_json

NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
LAYER = re.compile(
    rf'^[\[,\s]*\{{\s*"name"\s*:\s*"(?P<name>.*)"\s*,\s*"timeMs"\s*:\s*{NUMBER}\s*,\s*"averageMs"\s*:\s*'
    rf'(?P<mean>{NUMBER})\s*(?:,\s*"medianMs"\s*:\s*(?P<median>{NUMBER})\s*)?,\s*"percentage"\s*:'
    rf"\s*(?P<percent>{NUMBER})\s*\}}\s*$"
)
NAME = re.compile(r'\{\s*"name"\s*:\s*"')
SHAPE = re.compile(r'"\s*,\s*"dimensions"\s*:\s*"(?P<shape>[0-9x]*)"\s*,\s*"values"\s*:\s*\[')
"""What stands before and behind an output's name, which is written without escaping."""
INDEX_BITS = 31
STATUS = re.compile(r"^&&&& (RUNNING|PASSED|FAILED) TensorRT\.trtexec(?: \[TensorRT v(\d{4,7})\])?")
LINE = re.compile(r"^(?:\[[\d/]+-[\d:]+\] )?\[(?P<level>[EWI])\] (?P<text>.*)$")
GENERIC = (
    *("Engine set up failed", "Inference set up failed", "Parsing model failed"),
    *("Building engine failed", "Failed to create engine from model", "Got invalid engine"),
    *("Failed to parse onnx file", "Engine could not be created from network"),
    "Engine deserialization failed",
)
"""Errors that do not name a cause."""


@dataclass(frozen=True)
class LayerTime:
    """One layer of the engine: mean and median time in ms, and its share in percent."""

    name: str
    mean_ms: float
    median_ms: float | None
    percent: float


@dataclass(frozen=True)
class TrtexecLog:
    """The contents of a log. `passed` is None where the log ends before the final status.

    `errors` are without repeats, those that name a cause first; `unstable_percent` is the
    coefficient of variation of the GPU's time where the log warns of it; `gpu_ms` is its summary of
    that time: min, max, mean, median, 90%, 95% and 99%.
    """

    passed: bool | None
    version: str = ""
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unstable_percent: float | None = None
    throughput_qps: float | None = None
    gpu_ms: dict[str, float] = field(default_factory=dict)


def build_command(
    tool: str,
    onnx: str,
    engine: str,
    tensorrt: str,
    *,
    fp16: bool = False,
    int8: bool = False,
    workspace_mb: int | None = None,
    timing_cache: str = "",
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> list[str]:
    """The command that builds an engine and does not run it.

    Args:
        tool: trtexec's path.
        onnx: the network.
        engine: the file to write.
        tensorrt: the version on the device, such as 8.2.1.
        fp16: allow 16-bit floats.
        int8: use the Q/DQ nodes of the network; its float parts are 16-bit only with `fp16`.
        workspace_mb: MiB of scratch memory; the default of TensorRT 8.2 is 16.
        timing_cache: a file for the timings of the builder.
        shapes: of inputs with free dimensions, by name.
    """
    version = _version(tensorrt)
    command = [tool, f"--onnx={onnx}", f"--saveEngine={engine}"]
    command += ["--fp16"] * fp16 + ["--int8"] * int8
    if workspace_mb is not None:
        pool = version >= (8, 4)
        command.append(f"--{'memPoolSize=workspace:' if pool else 'workspace='}{workspace_mb}")
    if timing_cache:
        command.append(f"--timingCacheFile={timing_cache}")
    if shapes:
        spec = ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
        command += [f"--minShapes={spec}", f"--optShapes={spec}", f"--maxShapes={spec}"]
    if version < (8, 6):
        return [*command, "--buildOnly", "--profilingVerbosity=detailed"]
    return [*command, "--skipInference", "--profilingVerbosity=detailed"]


def time_command(
    tool: str,
    engine: str,
    *,
    warmup_ms: int = 500,
    seconds: int = 3,
    iterations: int = 10,
    times: str = "",
    profile: str = "",
    inputs: Mapping[str, str] | None = None,
    outputs: str = "",
) -> list[str]:
    """The command that runs an engine, for any TensorRT from 8.0 on.

    Args:
        tool: trtexec's path.
        engine: a file made by `build_command`.
        warmup_ms: duration of the warm-up, whose runs are in the file of times as well: see
            `parse_times`.
        seconds: the shortest duration of the runs.
        iterations: the fewest runs.
        times: the file for the times of all runs.
        profile: the file for the times of all layers, from a separate run.
        inputs: files with an input's raw values, by the input's name; random values otherwise.
        outputs: the file for the outputs of the last run. Without it nothing is copied from or to
            the GPU in the timed runs.
    """
    command = [tool, f"--loadEngine={engine}", f"--warmUp={warmup_ms}", f"--duration={seconds}"]
    command += [f"--iterations={iterations}", "--avgRuns=1", "--useSpinWait"]
    if inputs:
        command.append("--loadInputs=" + ",".join(f"{n}:{file}" for n, file in inputs.items()))
    if not outputs:
        command.append("--noDataTransfers")
    for option, file in (("Times", times), ("Profile", profile), ("Output", outputs)):
        if file:
            command.append(f"--export{option}={file}")
    return [*command, "--separateProfileRun"] if profile else command


def parse_times(text: str, warmup_ms: float) -> list[float]:
    """The GPU's time of every run after the warm-up, in ms, from the file of `--exportTimes`.

    Raises:
        ValueError: the text is not a complete file of times.
    """
    try:
        rows = parse_json(text)
        values = [row["computeMs"] for row in rows if row["startComputeMs"] >= warmup_ms]
        times_ms = [float(value) for value in values]
    except (TypeError, KeyError) as e:
        raise ValueError(f"not a file of times: {type(e).__name__}: {e}") from e
    return times_ms


def parse_profile(text: str) -> list[LayerTime]:
    """The layers of an `--exportProfile` file, in the order they run.

    Each layer is one line. Names are written without escaping, so the file need not be valid JSON.

    Raises:
        ValueError: the text has no layer.
    """
    layers = [
        LayerTime(
            name=m["name"],
            mean_ms=float(m["mean"]),
            median_ms=float(m["median"]) if m["median"] else None,
            percent=float(m["percent"]),
        )
        for m in map(LAYER.match, text.splitlines())
        if m
    ]
    if not layers:
        raise ValueError("not a file of layers' times")
    return layers


def parse_outputs(text: str) -> dict[str, NDArray[np.float64]]:
    """The outputs in an `--exportOutput` file, by name.

    Raises:
        ValueError: the text is not a complete file of outputs.
    """
    if not text.rstrip().endswith("]"):
        raise ValueError("the file of outputs has no end")
    outputs: dict[str, NDArray[np.float64]] = {}
    position = 0
    while head := SHAPE.search(text, position):
        start, end = NAME.search(text, position, head.start()), text.find("]", head.end())
        if not start or end < 0:
            raise ValueError("an output has no name or no end")
        shape = [int(n) for n in head["shape"].split("x") if n]
        if any(n >= 1 << INDEX_BITS for n in shape):
            raise ValueError("an output has a shape that no tensor has")
        values = [float(v) for v in text[head.end() : end].replace(",", " ").split()]
        name = text[start.end() : head.start()]
        outputs[name] = np.asarray(values, dtype=np.float64).reshape(shape)
        position = end
    if not outputs:
        raise ValueError("not a file of outputs")
    return outputs


def parse_log(log: str) -> TrtexecLog:
    """The contents of trtexec's log."""
    passed, version = None, ""
    errors: list[str] = []
    warnings: list[str] = []
    qps = unstable = None
    gpu: dict[str, float] = {}
    for line in log.splitlines():
        if status := STATUS.match(line):
            passed = {"PASSED": True, "FAILED": False}.get(status[1], passed)
            version = _dotted(status[2]) if status[2] else version
        elif entry := LINE.match(line.rstrip()):
            text = entry["text"].strip()
            if entry["level"] == "E":
                errors.append(text)
            elif entry["level"] == "W":
                warnings.append(text)
                if match := re.search(rf"coefficient of variance = ({NUMBER})%", text):
                    unstable = float(match[1])
            elif match := re.match(rf"Throughput: ({NUMBER}) qps", text):
                qps = float(match[1])
            elif text.startswith("GPU Compute Time: "):
                gpu = _gpu_summary(text)
    return TrtexecLog(
        passed=passed,
        version=version,
        errors=_causes_first(errors),
        warnings=tuple(dict.fromkeys(warnings)),
        unstable_percent=unstable,
        throughput_qps=qps,
        gpu_ms=gpu,
    )


def _causes_first(errors: Sequence[str]) -> tuple[str, ...]:
    unique = list(dict.fromkeys(errors))
    causes = [e for e in unique if not e.startswith(GENERIC)]
    return (*causes, *(e for e in unique if e not in causes))


def _gpu_summary(text: str) -> dict[str, float]:
    """`min = 1 ms, …, percentile(99%) = 2 ms` by name; `99%` names a percentile."""
    values = re.findall(rf"\b(?:percentile\()?(\w{{1,12}}%?)\)? = ({NUMBER}) ms", text)
    return {name: float(value) for name, value in values}


def _dotted(number: str) -> str:
    """8502 → 8.5.2; from version 10 on the later parts have two digits: 101602 → 10.16.2."""
    n = int(number)
    major, minor, patch = (n // 10000, n // 100 % 100, n % 100)
    if n < 10000:
        major, minor, patch = (n // 1000, n // 100 % 10, n % 100)
    return f"{major}.{minor}.{patch}"


def _version(text: str) -> tuple[int, int]:
    match = re.match(r"(\d{1,3})\.(\d{1,3})", text)
    return (int(match[1]), int(match[2])) if match else (10, 0)
