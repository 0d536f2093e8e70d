"""A device's own tools: how our script calls them, and what is read from what they print."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgenext.devices.request import Asked, input_spec, is_int8
from edgenext.devices.runners import benchmark_model, trtexec
from edgenext.errors import DeviceError, UsageError
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import Logits

WARMUP_MS, ROUND_S = 500, 1
"""Before and in each of trtexec's rounds."""
RUNS, WARMUP_RUNS = 10, 5
"""In and before each of benchmark_model's rounds."""
INPUT, OUTPUT, TIMES = "input.raw", "output.raw", "times.json"
"""Files of a job's folder."""


@dataclass(frozen=True)
class Burst:
    """What one round came to; `units` counts operators by unit, where the tool tells."""

    samples_ms: tuple[float, ...]
    load_ms: float = 0.0
    first_ms: float | None = None
    unit: str = ""
    units: dict[str, dict[str, int]] | None = None
    partitions: int | None = None
    memory_mb: float | None = None
    ended_s: float | None = None
    """When it ended, in seconds from the first; once that is known."""


class Tool(Protocol):
    """A program that measures one kind of file."""

    runtime: str

    def prepare(self, artifact: Artifact, path: str, store: str, /) -> tuple[str, str]:
        """What `time` and `infer` take, and a line of shell that makes it; empty for nothing."""
        ...

    def time(self, model: str) -> str:
        """A line of shell that measures one round and prints all that `burst` reads."""
        ...

    def infer(self, artifact: Artifact, model: str) -> str:
        """A line of shell that turns INPUT into OUTPUT."""
        ...

    def burst(self, artifact: Artifact, text: str) -> Burst:
        """What a round printed.

        Raises:
            DeviceError: it failed.
        """
        ...

    def logits(self, artifact: Artifact, data: bytes) -> Logits:
        """The logits in one OUTPUT, batch×K.

        Raises:
            DeviceError: there are none in it.
        """
        ...


class Trtexec:
    """NVIDIA's trtexec: it builds an engine on the device, once for each power mode."""

    formats = ("onnx", "tensorrt")

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._tool = asked.facts.tools["trtexec"]
        self._version = asked.facts.software.get("tensorrt", "")
        self.runtime = f"TensorRT {self._version}".strip()

    def engine(self, artifact: Artifact, store: str) -> str:
        """Where an artifact's engine is kept: another TensorRT, board or mode makes another."""
        facts = self._asked.facts
        about = (artifact.manifest.sha256, self._version, facts.model, facts.power_mode)
        return f"{store}/{hashlib.sha256('|'.join(about).encode()).hexdigest()}"

    def prepare(self, artifact: Artifact, path: str, store: str, /) -> tuple[str, str]:
        """See `Tool`."""
        engine, scheme = self.engine(artifact, store), artifact.manifest.scheme
        spec = input_spec(artifact)
        free = {spec.name: (self._asked.how.batch, *spec.shape[1:])} if spec.shape[0] < 0 else None
        command = trtexec.build_command(
            self._tool,
            path,
            f"{engine}.new",
            self._version,
            fp16=scheme != "fp32",
            int8=is_int8(artifact),
            shapes=free,
        )
        built = f"{shlex.join(command)} && mv {shlex.quote(engine + '.new')} {shlex.quote(engine)}"
        return engine, f"[ -s {shlex.quote(engine)} ] || {{ {built}; }}"

    def time(self, model: str) -> str:
        """See `Tool`."""
        command = trtexec.time_command(
            self._tool,
            model,
            warmup_ms=WARMUP_MS,
            seconds=ROUND_S,
            times=TIMES,
        )
        return f"{shlex.join(command)} && echo '{TIMES}' && cat {TIMES}"

    def infer(self, artifact: Artifact, model: str) -> str:
        """See `Tool`."""
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

    def burst(self, artifact: Artifact, text: str) -> Burst:
        """See `Tool`."""
        log, _, times = text.partition(f"\n{TIMES}\n")
        said = trtexec.outcome(log)
        if not said.passed:
            raise _failed("trtexec", artifact, said.why)
        self.runtime = f"TensorRT {said.version or self._version}".strip()
        try:
            every = trtexec.times(times, 0)
            samples = trtexec.times(times, WARMUP_MS)
        except ValueError as e:
            raise DeviceError(f"trtexec wrote no times of {artifact.name}: {e}") from e
        if not samples:
            raise DeviceError(f"trtexec timed nothing of {artifact.name} after the warm-up")
        return Burst(tuple(samples), first_ms=every[0], unit="tensorrt")

    def logits(self, artifact: Artifact, data: bytes) -> Logits:
        """See `Tool`."""
        try:
            found = trtexec.outputs(data.decode(errors="replace"))
        except ValueError as e:
            raise DeviceError(f"trtexec wrote no outputs of {artifact.name}: {e}") from e
        name = artifact.manifest.outputs[0].name
        if name not in found:
            raise DeviceError(f"trtexec wrote {', '.join(found)}, not {name}, of {artifact.name}")
        return found[name].astype(np.float32).reshape(-1, artifact.manifest.num_classes)


class BenchmarkModel:
    """LiteRT's benchmark_model; it tells a round's mean or median, not every run."""

    formats = ("tflite",)
    runtime = "LiteRT benchmark_model"

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._tool = asked.facts.tools["benchmark_model"]
        units: dict[str, benchmark_model.Unit] = {"gpu": "gpu", "npu": "npu", "nnapi": "nnapi"}
        self._unit: benchmark_model.Unit = units.get(asked.unit, "cpu")
        if self._unit == "npu" and not asked.how.delegate:
            raise UsageError(
                "LiteRT reaches an NPU through its maker's delegate",
                "Give --delegate the path of that library on the device, or ask for --unit nnapi",
            )

    def prepare(self, _artifact: Artifact, path: str, _store: str, /) -> tuple[str, str]:
        """See `Tool`."""
        return path, ""

    def time(self, model: str) -> str:
        """See `Tool`."""
        return self._command(model, runs=RUNS, warmup=WARMUP_RUNS)

    def infer(self, artifact: Artifact, model: str) -> str:
        """See `Tool`."""
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
        command = benchmark_model.command(
            self._tool,
            model,
            unit=self._unit,
            threads=self._asked.how.threads,
            runs=runs,
            warmup_runs=warmup,
            library=self._asked.how.delegate,
            inputs=inputs,
            outputs=outputs,
        )
        return shlex.join(command)

    def burst(self, artifact: Artifact, text: str) -> Burst:
        """See `Tool`."""
        said = benchmark_model.report(text)
        one = said.runs and (said.runs.median_ms or said.runs.mean_ms)
        if not one:
            raise _failed("benchmark_model", artifact, said.errors)
        share = said.share
        unit, units = self._unit, None
        if self._unit != "cpu" and share is not None and share < 1:
            taken = sum(d.nodes for d in said.delegations[:1])
            total = said.delegations[0].total if said.delegations else None
            left = {"operators": (total or 0) - taken or 1}
            units = {"cpu": left, self._unit: {"operators": taken}} if taken else {"cpu": left}
            unit = self._unit if share > 0 else "cpu"
        return Burst(
            (one,),
            load_ms=said.init_ms or 0.0,
            first_ms=said.first_ms,
            unit=unit,
            units=units,
            partitions=said.delegations[0].partitions if said.delegations else None,
            memory_mb=said.memory_mb,
        )

    def logits(self, artifact: Artifact, data: bytes) -> Logits:
        """See `Tool`."""
        spec, classes = artifact.manifest.outputs[0], artifact.manifest.num_classes
        stored = np.frombuffer(data, np.dtype(spec.dtype).newbyteorder("<"))
        if len(stored) == 0 or len(stored) % classes:
            raise DeviceError(f"benchmark_model wrote {len(data)} bytes of logits")
        values = stored.astype(np.float32)
        if spec.scale is not None:
            values = (values - (spec.zero_point or 0)) * np.float32(spec.scale)
        return values.reshape(-1, classes)


def _failed(tool: str, artifact: Artifact, why: tuple[str, ...]) -> DeviceError:
    said = " | ".join(why[:2]) or "it said nothing"
    return DeviceError(
        f"{tool} cannot run {artifact.name}: {said}", "Does `edgenext check` accept the file?"
    )
