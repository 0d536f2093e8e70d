"""Measuring with the vendors' tools on a device, by one shell script that is pushed to it.

The script prints a line `== NONCE WORD …` before each step; the lines up to the next one are the
output of the step.
"""

from __future__ import annotations

import hashlib
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgenext.devices.link import NUMBER, DeviceLink, DeviceTask, printable
from edgenext.devices.protocol import ArtifactMeasurements, ReadyEvent, ReadyFacts, RunnerRecord
from edgenext.devices.request import DeviceRequest, input_spec
from edgenext.devices.runners.benchmark_model import DOWNLOAD
from edgenext.devices.runners.python_runner import PACKAGES
from edgenext.devices.runners.tools import (
    INPUT,
    OUTPUT,
    BenchmarkModelTool,
    ToolRound,
    TrtexecTool,
    VendorTool,
)
from edgenext.errors import ArtifactError, DeviceError
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import ArtifactSession
from edgenext.schema import DeviceFacts, Environment
from edgenext.system.progress import Progress
from edgenext.system.temporary import scratch_folder

MAX_STEP = 1 << 26
"""Characters that a step of the script may print."""


def tool_for(request: DeviceRequest) -> VendorTool | None:
    """The tool that measures a request better than our runner, or that alone can; None for neither.

    Raises:
        ArtifactError: only a tool could, and the device lacks it; the remedy says where to get it.
    """
    formats = {a.manifest.format for a in request.artifacts}
    unit, tools, name = request.unit, request.facts.tools, request.device.name
    unsupported = formats.difference(TrtexecTool.input_formats)
    if unit == "tensorrt" and unsupported:
        raise ArtifactError(
            f"TensorRT takes ONNX, not {', '.join(unsupported)}",
            "Export it with --format tensorrt, or ask for --unit cpu",
        )
    if unit == "tensorrt" and "trtexec" in tools:
        return TrtexecTool(request)
    is_tflite = formats.issubset(BenchmarkModelTool.input_formats)
    if is_tflite and (request.device.kind == "android" or unit != "cpu"):
        if "benchmark_model" in tools:
            return BenchmarkModelTool(request)
        if unit != "cpu" or request.facts.software.keys().isdisjoint(PACKAGES["litert"]):
            raise ArtifactError(f"{name} has no benchmark_model", DOWNLOAD)
    return None


@dataclass(frozen=True)
class ScriptStep:
    """One step of the script: the words of its first line, and its output."""

    words: tuple[str, ...]
    text: str


def measure_with_tool(
    link: DeviceLink, request: DeviceRequest, tool: VendorTool, folder: Path, progress: Progress
) -> RunnerRecord:
    """The record of a request that a tool measures; logits are written into a folder.

    Raises:
        ArtifactError: the device cannot run a file.
        DeviceError: the device or the tool failed.
    """
    link.lock()
    store = f"{link.root}/store"
    with scratch_folder() as temporary:
        scratch, inputs = temporary, list[str]()
        paths = [link.push(artifact.path) for artifact in request.artifacts]
        if request.images:
            files = (
                _write_inputs(request, a, scratch / a.manifest.sha256) for a in request.artifacts
            )
            inputs = [link.push(path) for path in files]
        # the same script has the same name, so that an interrupted job is continued
        body = job_script(request, tool, paths, inputs, store)
        nonce = hashlib.sha256(body.encode()).hexdigest()[:12]
        (scratch / "script.sh").write_text(say(nonce) + body)
        script_path = link.push(scratch / "script.sh")
    job = hashlib.sha256(script_path.encode()).hexdigest()[:16]
    task = DeviceTask(job, ("sh", script_path), "out", request.options.limit_s, request.clocks)
    rounds: dict[str, list[ToolRound]] = {a.manifest.sha256: [] for a in request.artifacts}
    second: list[ToolRound] = []
    done = False
    for step in read_steps(link.run(task), nonce):
        done |= step.words[0] == "done"
        _read_step(step, request, tool, rounds, second, progress)
    for artifact in request.artifacts if request.images else ():
        _fetch_logits(link, job, request, artifact, tool, folder)
    link.remove(job)
    measurements = {sha256: _measurements(sha256, of_one) for sha256, of_one in rounds.items()}
    return RunnerRecord(
        job,
        environment_of(request.facts),
        artifacts=measurements,
        second=_measurements(request.artifacts[0].manifest.sha256, second),
        done=done,
    )


def job_script(
    request: DeviceRequest,
    tool: VendorTool,
    paths: Sequence[str],
    inputs: Sequence[str],
    store: str,
) -> str:
    """The script: prepare the models, measure rounds in turn, then run all images on each model."""
    lines = [
        "say begin",
        "start=$(date +%s)",
        "must() {",
        'say end "$2" $(($(date +%s) - start))',
        '[ "$1" = 0 ] || { say failed "$2"; exit 1; }',
        "}",
    ]
    models = []
    for artifact, path in zip(request.artifacts, paths, strict=True):
        model, command = tool.prepare(artifact, path, store)
        models.append(model)
        if command:
            sha256 = artifact.manifest.sha256
            lines += [f"say prepare {sha256}", f"{{ {command}; }} 2>&1", f"must $? {sha256}"]
    time_left = f"[ $(($(date +%s) - start)) -lt {request.options.sustained_s:.0f} ]"
    lines += [
        "round=0 start=$(date +%s)",
        f"while [ $round -lt {request.options.rounds} ] || {time_left}; do",
    ]
    turns = [("round", a, m) for a, m in zip(request.artifacts, models, strict=True)]
    for word, artifact, model in (*turns, ("second", request.artifacts[0], models[0])):
        sha256 = artifact.manifest.sha256
        lines += [f"say {word} {sha256} $round"]
        lines += [f"{{ {tool.time(model)}; }} 2>&1", f"must $? {sha256}"]
    lines += ["round=$((round + 1))", "done"]
    if request.images:
        for artifact, model, file in zip(request.artifacts, models, inputs, strict=True):
            lines += _scoring(tool, artifact, model, file, len(request.images))
    return "\n".join([*lines, "say done", ""])


def say(nonce: str) -> str:
    """The first line of a script: the function that announces a step."""
    return f"say() {{ printf '\\n== {nonce} %s\\n' \"$*\"; }}\n"


def _scoring(tool: VendorTool, artifact: Artifact, model: str, file: str, n: int) -> list[str]:
    """Run every image on one model; each output is a file, which survives an interruption."""
    sha256 = artifact.manifest.sha256
    size = _row_bytes(artifact)
    return [
        f"mkdir -p out-{sha256[:16]}",
        "i=0",
        f"while [ $i -lt {n} ]; do",
        f"o=out-{sha256[:16]}/$i",
        "if [ ! -s $o ]; then",
        f"dd if={shlex.quote(file)} of={INPUT} bs={size} skip=$i count=1 2>/dev/null",
        f"{{ {tool.infer(artifact, model)}; }} >log 2>&1",
        "code=$?",
        f"[ $code = 0 ] || {{ say log {sha256}; cat log; must $code {sha256}; }}",
        f"mv {OUTPUT} $o",
        "fi",
        "i=$((i + 1))",
        f"[ $((i % 10)) = 0 ] && say logits {sha256} $i",
        "done",
        f"say logits {sha256} {n}",
        f"n=0; while [ $n -lt {n} ]; do wc -c <out-{sha256[:16]}/$n; n=$((n + 1)); done "
        f">sizes-{sha256[:16]}",
        f"n=0; while [ $n -lt {n} ]; do cat out-{sha256[:16]}/$n; n=$((n + 1)); done "
        f">all-{sha256[:16]}",
    ]


def _row_bytes(artifact: Artifact) -> int:
    spec = artifact.manifest.input
    if spec.shape[0] > 1:
        raise ArtifactError(
            f"{artifact.path} takes batches of {spec.shape[0]}: a vendor's tool runs one image "
            "at a time",
            "Export it with --batch 1",
        )
    numbers = math.prod(input_spec(artifact).shape[1:])
    return numbers * np.dtype(spec.dtype).itemsize


def _write_inputs(request: DeviceRequest, artifact: Artifact, path: Path) -> Path:
    """Write all images as inputs of an artifact, one after the other; the file's path."""
    assert request.images is not None  # noqa: S101 - the caller has checked it
    session = ArtifactSession(artifact.manifest)
    with path.open("wb") as file:
        for image in request.images.images:
            file.write(session.prepare(np.asarray(image)[None]).tobytes())
    return path


def read_steps(lines: Iterator[str], nonce: str) -> Iterator[ScriptStep]:
    """The steps of a script, from the lines of its output.

    Raises:
        DeviceError: a step printed more than any tool does.
    """
    mark, text, size = f"== {nonce} ", list[str](), 0
    words: tuple[str, ...] = ()
    for line in lines:
        if line.startswith(mark):
            if words:
                yield ScriptStep(words, "\n".join(text))
            words, text, size = tuple(line.removeprefix(mark).split()), [], 0
        else:
            text.append(line)
            size += len(line)
            if size > MAX_STEP:
                raise DeviceError(f"the device printed more than {MAX_STEP >> 20} MiB in one step")
    if words:
        yield ScriptStep(words, "\n".join(text))


def _read_step(
    step: ScriptStep,
    request: DeviceRequest,
    tool: VendorTool,
    rounds: dict[str, list[ToolRound]],
    second: list[ToolRound],
    progress: Progress,
) -> None:
    """Add the results of a step to the rounds by sha256, and report progress.

    `second` are the rounds of the first artifact's second turn.
    """
    word, *arguments = step.words
    if word == "begin":  # the rounds of an earlier attempt do not count
        for of_one in (*rounds.values(), second):
            of_one.clear()
    names = dict(zip((a.manifest.sha256 for a in request.artifacts), request.names, strict=True))
    if not arguments or arguments[0] not in names:
        return
    sha256, device = arguments[0], request.device.name
    artifact, of_one = request.artifacts[list(names).index(sha256)], rounds[sha256]
    if word == "round":
        of_one.append(tool.read_round(artifact, step.text))
        total = max(len(of_one), request.options.rounds)
        progress(f"benchmarking on {device}", len(of_one), total)
    elif word == "second":
        second.append(tool.read_round(artifact, step.text))
    elif word == "end" and second and second[-1].ended_s is None:
        second[-1] = replace(second[-1], ended_s=float(arguments[1]))
    elif word == "end" and of_one and of_one[-1].ended_s is None:
        of_one[-1] = replace(of_one[-1], ended_s=float(_number(step, device)))
    elif word == "logits" and request.images:
        progress(f"evaluating {names[sha256]}", _number(step, device), len(request.images))
    elif word == "prepare" and "FAILED" in step.text:
        tool.read_round(artifact, step.text)  # raises the tool's error


def _number(step: ScriptStep, device: str) -> int:
    """The number in the first line of a step, behind the artifact."""
    text = step.words[2] if len(step.words) > 2 else ""
    if not NUMBER.fullmatch(text):
        raise DeviceError(
            f"{device} gave an invalid line: {printable(' '.join(step.words))[:80]!r}",
            "Run the same command again",
        )
    return int(text)


def _fetch_logits(
    link: DeviceLink,
    job: str,
    request: DeviceRequest,
    artifact: Artifact,
    tool: VendorTool,
    folder: Path,
) -> None:
    """Fetch the outputs of all images, and write their logits as our runner does."""
    assert request.images is not None  # noqa: S101 - the caller has checked it
    sha256 = artifact.manifest.sha256
    words = link.text(job, f"sizes-{sha256[:16]}").split()
    sizes = [int(word) for word in words if NUMBER.fullmatch(word)]
    if not len(sizes) == len(words) == len(request.images):
        raise DeviceError(f"{request.device.name} gave {len(sizes)} outputs of {artifact.name}")
    link.pull(job, f"all-{sha256[:16]}", folder / "all")
    with (folder / "all").open("rb") as file:
        rows = [tool.read_logits(artifact, file.read(size))[:1] for size in sizes]
    if any(len(row) == 0 for row in rows):
        raise DeviceError(f"{request.device.name} gave an empty output of {artifact.name}")
    np.concatenate(rows).astype("<f4").tofile(folder / f"logits-{sha256}.f32")


def _measurements(sha256: str, rounds: Sequence[ToolRound]) -> ArtifactMeasurements:
    """All rounds of one artifact, as our runner would report them."""
    if not rounds:
        return ArtifactMeasurements()
    first = rounds[0]
    facts = ReadyFacts(
        runtime=rounds[-1].runtime,
        batch=1,
        burst=len(first.samples_ms),
        load_ms=first.load_ms,
        first_ms=first.first_ms or first.samples_ms[0],
        warmup=0,
        settled=True,
    )
    ready = ReadyEvent(
        artifact=sha256,
        ready=facts,
        unit=first.unit,
        units=first.units,
        partitions=first.partitions,
    )
    return ArtifactMeasurements(
        ready=ready,
        rounds=tuple(r.samples_ms for r in rounds),
        at_s=tuple(r.ended_s for r in rounds if r.ended_s is not None),
        peak_rss_mb=max((r.memory_mb for r in rounds if r.memory_mb is not None), default=0.0),
    )


def environment_of(facts: DeviceFacts) -> Environment:
    """The device's facts as the environment of a measurement."""
    return Environment(
        cpu=facts.soc or facts.model or facts.machine,
        isa=facts.isa,
        cores=max(facts.cores, 1),
        memory_gb=round(facts.memory_mb / 1024, 1),
        os=facts.os,
        python=facts.software.get("python", ""),
        packages={k: v for k, v in facts.software.items() if k != "python"},
    )
