"""The vendors' tools on a device: the commands that call them, and the parsers of their output."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from edgenext.devices.job import LONGEST
from edgenext.devices.link import printable
from edgenext.devices.request import DeviceRequest, input_spec, is_int8
from edgenext.devices.runners import benchmark_model, trtexec
from edgenext.errors import DeviceError, UsageError
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import Logits

WARMUP_MS, ROUND_S = 500, 1
"""The warm-up and the duration of each of trtexec's rounds."""
RUNS, WARMUP_RUNS = 10, 5
"""The runs and the warm-up runs of each of benchmark_model's rounds."""
INPUT, OUTPUT, TIMES = "input.raw", "output.raw", "times.json"
"""Files of a job's folder."""


@dataclass(frozen=True)
class ToolRound:
    """The result of one round; `units` counts operators by unit, where the tool reports them."""

    samples_ms: tuple[float, ...]
    runtime: str
    load_ms: float = 0.0
    first_ms: float | None = None
    unit: str = ""
    units: dict[str, dict[str, int]] = field(default_factory=dict)
    partitions: int | None = None
    memory_mb: float | None = None
    ended_s: float | None = None
    """The end of the round, in seconds from the first; None until the script reports it."""


class VendorTool(Protocol):
    """A program that measures one kind of file."""

    def prepare(self, artifact: Artifact, path: str, store: str, /) -> tuple[str, str]:
        """The model that `time` and `infer` take, and a shell command that makes it, if any."""
        ...

    def time(self, model: str) -> str:
        """A shell command that measures one round and prints what `read_round` reads."""
        ...

    def infer(self, artifact: Artifact, model: str) -> str:
        """A shell command that computes OUTPUT from INPUT."""
        ...

    def read_round(self, artifact: Artifact, text: str) -> ToolRound:
        """The result of a round, from the output of `time`.

        Raises:
            DeviceError: the round failed.
        """
        ...

    def read_logits(self, artifact: Artifact, data: bytes) -> Logits:
        """The logits in one OUTPUT, batch×K.

        Raises:
            DeviceError: the data has no logits.
        """
        ...


class TrtexecTool:
    """NVIDIA's trtexec: it builds an engine on the device, one for each power mode."""

    input_formats = ("onnx", "tensorrt")

    def __init__(self, request: DeviceRequest) -> None:
        self._request = request
        self._tool = request.facts.tools["trtexec"]
        self._version = request.facts.software.get("tensorrt", "")

    def engine(self, artifact: Artifact, store: str) -> str:
        """The path of an artifact's engine, one for each TensorRT, board and power mode."""
        facts = self._request.facts
        key = (artifact.manifest.sha256, self._version, facts.model, facts.power_mode)
        return f"{store}/{hashlib.sha256('|'.join(key).encode()).hexdigest()}"

    def prepare(self, artifact: Artifact, path: str, store: str, /) -> tuple[str, str]:
        """See `VendorTool`."""
        engine, scheme = self.engine(artifact, store), artifact.manifest.scheme
        spec = input_spec(artifact)
        batch = self._request.options.batch
        free_shapes = {spec.name: (batch, *spec.shape[1:])} if spec.shape[0] < 0 else None
        command = trtexec.build_command(
            self._tool,
            path,
            f"{engine}.new",
            self._version,
            fp16=scheme != "fp32",
            int8=is_int8(artifact),
            shapes=free_shapes,
        )
        build = f"{shlex.join(command)} && mv {shlex.quote(engine + '.new')} {shlex.quote(engine)}"
        return engine, f"[ -s {shlex.quote(engine)} ] || {{ {build}; }}"

    def time(self, model: str) -> str:
        """See `VendorTool`."""
        command = trtexec.time_command(
            self._tool,
            model,
            warmup_ms=WARMUP_MS,
            seconds=ROUND_S,
            times=TIMES,
        )
        return f"{shlex.join(command)} && echo '{TIMES}' && cat {TIMES}"

    def infer(self, artifact: Artifact, model: str) -> str:
        """See `VendorTool`."""
        command = trtexec.time_command(
            self._tool,
            model,
            warmup_ms=0,
            seconds=0,
            iterations=1,
            inputs={artifact.manifest.input.name: INPUT},
            outputs=OUTPUT,
        )
        return shlex.join(command)

    def read_round(self, artifact: Artifact, text: str) -> ToolRound:
        """See `VendorTool`."""
        output, _, times = text.partition(f"\n{TIMES}\n")
        log = trtexec.parse_log(output)
        if not log.passed:
            raise _tool_error("trtexec", artifact, log.errors)
        try:
            all_ms = trtexec.parse_times(times, 0)
            samples_ms = trtexec.parse_times(times, WARMUP_MS)
        except ValueError as e:
            raise DeviceError(f"trtexec wrote no times of {artifact.name}: {e}") from e
        if not samples_ms:
            raise DeviceError(f"trtexec timed nothing of {artifact.name} after the warm-up")
        _check_times(artifact, all_ms)
        runtime = f"TensorRT {log.version or self._version}".strip()
        return ToolRound(tuple(samples_ms), runtime, first_ms=all_ms[0], unit="tensorrt")

    def read_logits(self, artifact: Artifact, data: bytes) -> Logits:
        """See `VendorTool`."""
        try:
            outputs = trtexec.parse_outputs(data.decode(errors="replace"))
        except ValueError as e:
            raise DeviceError(f"trtexec wrote no outputs of {artifact.name}: {e}") from e
        name, classes = artifact.manifest.outputs[0].name, artifact.manifest.num_classes
        if name not in outputs:
            others = printable(", ".join(outputs))[:80]
            raise DeviceError(f"trtexec wrote {others}, not {name}, of {artifact.name}")
        values = outputs[name]
        if values.size == 0 or values.size % classes:
            raise DeviceError(f"trtexec wrote {values.size} logits of {artifact.name}")
        with np.errstate(over="ignore"):  # refused where the logits are read
            return values.astype(np.float32).reshape(-1, classes)


class BenchmarkModelTool:
    """LiteRT's benchmark_model; it reports the mean or median of a round, not every run."""

    input_formats = ("tflite",)

    def __init__(self, request: DeviceRequest) -> None:
        self._options = request.options
        self._tool = request.facts.tools["benchmark_model"]
        units: dict[str, benchmark_model.Unit] = {"gpu": "gpu", "npu": "npu", "nnapi": "nnapi"}
        self._unit: benchmark_model.Unit = units.get(request.unit, "cpu")
        if self._unit == "npu" and not self._options.delegate:
            raise UsageError(
                "LiteRT reaches an NPU through its maker's delegate",
                "Give --delegate the path of that library on the device, or ask for --unit nnapi",
            )

    def prepare(self, _artifact: Artifact, path: str, _store: str, /) -> tuple[str, str]:
        """See `VendorTool`."""
        return path, ""

    def time(self, model: str) -> str:
        """See `VendorTool`."""
        return self._command(model, runs=RUNS, warmup=WARMUP_RUNS)

    def infer(self, artifact: Artifact, model: str) -> str:
        """See `VendorTool`."""
        spec = input_spec(artifact)
        inputs = {spec.name: (spec.shape, INPUT)}
        return self._command(model, runs=1, warmup=0, inputs=inputs, outputs=OUTPUT)

    def _command(
        self,
        model: str,
        *,
        runs: int,
        warmup: int,
        inputs: dict[str, tuple[tuple[int, ...], str]] | None = None,
        outputs: str = "",
    ) -> str:
        command = benchmark_model.benchmark_command(
            self._tool,
            model,
            unit=self._unit,
            threads=self._options.threads,
            runs=runs,
            warmup_runs=warmup,
            library=self._options.delegate,
            inputs=inputs,
            outputs=outputs,
        )
        return shlex.join(command)

    def read_round(self, artifact: Artifact, text: str) -> ToolRound:
        """See `VendorTool`."""
        log = benchmark_model.parse_log(text)
        typical_ms = log.runs and (log.runs.median_ms or log.runs.mean_ms)
        if not typical_ms:
            raise _tool_error("benchmark_model", artifact, log.errors)
        _check_times(artifact, (typical_ms, log.first_ms or typical_ms, 1 + abs(log.init_ms or 0)))
        unit, units = self._placement(log)
        return ToolRound(
            (typical_ms,),
            "LiteRT benchmark_model",
            load_ms=log.init_ms or 0.0,
            first_ms=log.first_ms,
            unit=unit,
            units=units,
            partitions=log.delegations[0].partitions if log.delegations else None,
            memory_mb=log.memory_mb,
        )

    def _placement(
        self, log: benchmark_model.BenchmarkModelLog
    ) -> tuple[str, dict[str, dict[str, int]]]:
        """The unit that runs most of the network, and operators by unit where some fell back."""
        share = log.share
        if self._unit == "cpu" or share is None or share >= 1:
            return self._unit, {}
        delegated = sum(d.nodes for d in log.delegations[:1])
        total = log.delegations[0].total if log.delegations else None
        units = {"cpu": {"operators": (total or 0) - delegated or 1}}
        if delegated:
            units[self._unit] = {"operators": delegated}
        return self._unit if share > 0 else "cpu", units

    def read_logits(self, artifact: Artifact, data: bytes) -> Logits:
        """See `VendorTool`."""
        spec, classes = artifact.manifest.outputs[0], artifact.manifest.num_classes
        dtype = np.dtype(spec.dtype).newbyteorder("<")
        if len(data) == 0 or len(data) % (dtype.itemsize * classes):
            raise DeviceError(f"benchmark_model wrote {len(data)} bytes of logits")
        stored = np.frombuffer(data, dtype)
        values = stored.astype(np.float32)
        if spec.scale is not None:
            values = (values - (spec.zero_point or 0)) * np.float32(spec.scale)
        return values.reshape(-1, classes)


def _check_times(artifact: Artifact, times_ms: Sequence[float]) -> None:
    """Refuse times that nothing takes."""
    if not all(0 < ms <= LONGEST for ms in times_ms):
        raise DeviceError(f"the device reports a time that {artifact.name} cannot take")


def _tool_error(tool: str, artifact: Artifact, errors: tuple[str, ...]) -> DeviceError:
    text = " | ".join(errors[:2]) or "it gave no reason"
    return DeviceError(
        f"{tool} cannot run {artifact.name}: {text}", "Check the file with `edgenext check`"
    )
