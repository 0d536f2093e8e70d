"""LiteRT's `benchmark_model`: its command line and its log.

The log's lines are those of TensorFlow `lite/tools/benchmark`. It prints microseconds; all values
here are in milliseconds. A delegate that runs no part of the network leaves it to the CPU with a
line in the log and exit code 0: check `BenchmarkModelLog.share` before you use a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["cpu", "gpu", "nnapi", "npu"]

DOWNLOAD = (
    "benchmark_model is Google's tool: take the nightly binary for android_aarch64 from "
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/"
    "nightly/latest/android_aarch64_benchmark_model (see "
    "https://ai.google.dev/edge/litert/models/measurement), or build it from TensorFlow's source "
    "with `bazel build -c opt --config=android_arm64 "
    "tensorflow/lite/tools/benchmark:benchmark_model`, and put it on the device as "
    "/data/local/tmp/benchmark_model."
)
"""Where users get the tool."""

N = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
STATS = re.compile(rf"\bcount=(\d{{1,9}})((?: \w+={N})+)")
TIMINGS = re.compile(
    rf"Inference timings in us: Init: ({N}), First inference: ({N}), "
    rf"Warmup \(avg\): ({N}), Inference \(avg\): ({N})"
)
MEMORY = re.compile(rf"Memory footprint delta [^\n]{{0,200}}\(MB\): init=({N}) overall=({N})")
PEAK = re.compile(rf"Overall peak memory footprint \(MB\)[^\n:]{{0,200}}: ({N})")
REPLACING = re.compile(
    r"Replacing (\d{1,9})(?: out of (\d{1,9}))? node\(s\) with delegate \(([^)\n]{0,200})\) node"
    r"(?:, yielding (\d{1,9}) partitions)?"
)
APPLIED = re.compile(
    r"[Ee]xplicitly applied (\w+) delegate, and the model graph will be "
    r"(completely|partially) executed"
)
REFUSED = re.compile(
    r"Though (\w+) delegate is explicitly applied, the model graph will not be executed"
)
SPLIT = re.compile(
    r"\b(\d{1,9}) operations will run on the GPU, "
    r"and the remaining (\d{1,9})(?: operations will run)? on the CPU"
)
UNSUPPORTED = re.compile(r"operations are not supported by (?:the )?\w+ delegate:")
OPERATOR = re.compile(
    r"^(?:ERROR: |.*?\btflite\s*(?:\(\s*\d+\))?: )?((?!INFO|WARNING|ERROR|VERBOSE)[A-Z]\w*:.*)$"
)
FAULT = re.compile(r"(?:^ERROR: | E tflite\s*: )([^\n]*)$", re.MULTILINE)
XNNPACK = "TfLiteXNNPackDelegate"


@dataclass(frozen=True)
class RunStats:
    """Statistics of one round of runs, in ms; None for values that a log's line does not have."""

    count: int
    first_ms: float | None = None
    min_ms: float | None = None
    mean_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    p5_ms: float | None = None
    median_ms: float | None = None
    p95_ms: float | None = None


@dataclass(frozen=True)
class Delegation:
    """A delegate runs `nodes` of `total` in `partitions` parts; None where the log does not say."""

    delegate: str
    nodes: int
    total: int | None = None
    partitions: int | None = None


@dataclass(frozen=True)
class BenchmarkModelLog:
    """The contents of a log; times in ms, memory in MB.

    `delegations` are in their order, with those to XNNPACK for the CPU. `applied` are the requested
    delegates that run a part of the network, with whether they run all of it; `refused` those that
    run nothing. `unsupported` are the operators a delegate cannot run. `accelerators` are NNAPI's;
    nnapi-reference is the CPU.
    """

    runs: RunStats | None = None
    warmup: RunStats | None = None
    init_ms: float | None = None
    first_ms: float | None = None
    init_memory_mb: float | None = None
    memory_mb: float | None = None
    peak_memory_mb: float | None = None
    delegations: tuple[Delegation, ...] = ()
    applied: dict[str, bool] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    accelerators: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def share(self) -> float | None:
        """The share of the network's nodes that run on another unit than the CPU.

        None where the log does not say; 0 where all nodes run on the CPU.
        """
        applied = {name: complete for name, complete in self.applied.items() if name != "XNNPACK"}
        others = [d for d in self.delegations if d.delegate != XNNPACK]
        if any(applied.values()):
            return 1.0
        if self.refused and not applied:
            return 0.0
        if others and others[0].total:
            return min(sum(d.nodes for d in others) / others[0].total, 1.0)
        return 0.0 if self.delegations and not others and not applied else None


def benchmark_command(
    tool: str,
    graph: str,
    *,
    unit: Unit = "cpu",
    threads: int = 1,
    runs: int = 50,
    warmup_runs: int = 5,
    max_seconds: float = 150.0,
    inputs: Mapping[str, tuple[Sequence[int], str]] | None = None,
    outputs: str = "",
    accelerator: str = "",
    library: str = "",
    options: str = "",
    memory: bool = False,
    profile: bool = False,
) -> list[str]:
    """The command line.

    Args:
        tool: benchmark_model's path.
        graph: a .tflite file.
        unit: the compute unit. `npu` is an external delegate, a vendor's library.
        threads: of the CPU, also for the operators that a delegate leaves to it.
        runs: the fewest runs; they take at least a second.
        warmup_runs: the runs before them.
        max_seconds: the longest duration.
        inputs: shape and file with raw values of each input, by name, in the interpreter's order;
            random values otherwise. The names need not be the network's.
        outputs: the file for the outputs' raw values.
        accelerator: NNAPI's device, such as google-edgetpu.
        library: the external delegate's library.
        options: the delegate's options, `key:value` separated by semicolons.
        memory: monitor the peak of memory, in a thread that may slow the runs.
        profile: time every operator, which slows the runs.
    """
    line = [tool, f"--graph={graph}", f"--num_threads={threads}", f"--num_runs={runs}"]
    line += [f"--warmup_runs={warmup_runs}", f"--max_secs={max_seconds:g}"]
    if memory:
        line.append("--report_peak_memory_footprint=true")
    if unit == "cpu":
        line.append("--use_xnnpack=true")
    elif unit == "gpu":
        line.append("--use_gpu=true")
    elif unit == "nnapi":
        line += ["--use_nnapi=true", "--disable_nnapi_cpu=true"]
        line += [f"--nnapi_accelerator_name={accelerator}"] if accelerator else []
    elif unit == "npu":
        line.append(f"--external_delegate_path={library}")
        line += [f"--external_delegate_options={options}"] if options else []
    if inputs:
        line.append("--input_layer=" + ",".join(inputs))
        shapes = (",".join(map(str, shape)) for shape, _ in inputs.values())
        line.append("--input_layer_shape=" + ":".join(shapes))
        files = (f"{_escape(name)}:{file}" for name, (_, file) in inputs.items())
        line.append("--input_layer_value_files=" + ",".join(files))
    if outputs:
        line.append(f"--output_filepath={outputs}")
    return [*line, "--enable_op_profiling=true"] if profile else line


def parse_log(log: str) -> BenchmarkModelLog:
    """The contents of a log; all fields are empty where the log has none of them."""
    rounds = [_stats(match) for match in STATS.finditer(log)]
    timings, memory, peak = TIMINGS.search(log), MEMORY.search(log), PEAK.search(log)
    accelerators = re.search(r"NNAPI accelerators available: \[([^\]\n]*)\]", log)
    runs = rounds[-1] if len(rounds) > 1 or (rounds and timings) else None
    return BenchmarkModelLog(
        runs=runs,
        warmup=rounds[0] if rounds and rounds[0] is not runs else None,
        init_ms=_ms(timings[1]) if timings else None,
        first_ms=_ms(timings[2]) if timings else None,
        init_memory_mb=float(memory[1]) if memory else None,
        memory_mb=float(memory[2]) if memory else None,
        peak_memory_mb=float(peak[1]) if peak else None,
        delegations=_delegations(log),
        applied={match[1]: match[2] == "completely" for match in APPLIED.finditer(log)},
        refused=tuple(dict.fromkeys(match[1] for match in REFUSED.finditer(log))),
        unsupported=_unsupported(log),
        accelerators=tuple(filter(None, accelerators[1].split(","))) if accelerators else (),
        errors=tuple(dict.fromkeys(m[1].strip() for m in FAULT.finditer(log))),
    )


def _delegations(log: str) -> tuple[Delegation, ...]:
    """The delegations; that to a GPU from its own sentence where the runtime logs none."""
    delegations = [
        Delegation(m[3], int(m[1]), _int(m[2]), _int(m[4])) for m in REPLACING.finditer(log)
    ]
    split = SPLIT.search(log)
    if split and not any(d.delegate != XNNPACK for d in delegations):
        delegations.insert(0, Delegation("GPU", int(split[1]), int(split[1]) + int(split[2])))
    return tuple(delegations)


def _unsupported(log: str) -> tuple[str, ...]:
    """The lines of operators after the sentence that a delegate does not support them."""
    operators: list[str] = []
    listing = False
    for line in log.splitlines():
        if UNSUPPORTED.search(line):
            listing = True
        elif listing and not SPLIT.search(line) and (match := OPERATOR.match(line.strip())):
            operators.append(match[1].strip())
        else:
            listing = False
    return tuple(dict.fromkeys(operators))


def _stats(match: re.Match[str]) -> RunStats:
    fields = dict(re.findall(rf"(\w+)=({N})", match[2]))
    ms = {name: _ms(value) for name, value in fields.items()}
    only = ms.get("curr") if match[1] == "1" else None
    return RunStats(
        count=int(match[1]),
        first_ms=ms.get("first", only),
        min_ms=ms.get("min", only),
        mean_ms=ms.get("avg", only),
        max_ms=ms.get("max", only),
        std_ms=ms.get("std"),
        p5_ms=ms.get("p5"),
        median_ms=ms.get("median"),
        p95_ms=ms.get("p95"),
    )


def _ms(microseconds: str) -> float:
    return float(microseconds) / 1000


def _int(text: str | None) -> int | None:
    return int(text) if text else None


def _escape(name: str) -> str:
    return name.replace(":", "::")
