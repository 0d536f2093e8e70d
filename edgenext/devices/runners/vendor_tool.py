"""Measuring with a device's own tools, from one shell script that is pushed there.

The script prints a line `== NONCE WORD …` before each thing it does; what follows up to the next
such line is what a tool printed.
"""

from __future__ import annotations

import hashlib
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edgenext.devices.protocol import Measured, ReadyEvent, Recorded, Warm
from edgenext.devices.request import Asked, input_spec
from edgenext.devices.runners.benchmark_model import WHERE
from edgenext.devices.runners.tools import INPUT, OUTPUT, BenchmarkModel, Burst, Tool, Trtexec
from edgenext.devices.transports.link import LinkTransport
from edgenext.devices.transports.transport import Task
from edgenext.errors import ArtifactError, DeviceError
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import ArtifactSession
from edgenext.schema import DeviceFacts, Environment
from edgenext.system.progress import Progress


def tool_for(asked: Asked) -> Tool | None:
    """The tool that measures what was asked better than our runner, or that alone can; else None.

    Raises:
        ArtifactError: only a tool could, and it is not there; the message says where to get it.
    """
    formats = {a.manifest.format for a in asked.artifacts}
    unit, there = asked.unit, asked.facts.tools
    if unit == "tensorrt" and "trtexec" in there and formats <= set(Trtexec.formats):
        return Trtexec(asked)
    if unit == "tensorrt" and not formats <= set(Trtexec.formats):
        raise ArtifactError(
            f"TensorRT takes ONNX, not {', '.join(formats - set(Trtexec.formats))}",
            "Export it with --format tensorrt, or ask for --unit cpu",
        )
    if formats == {"tflite"} and (asked.device.kind == "android" or unit != "cpu"):
        if "benchmark_model" in there:
            return BenchmarkModel(asked)
        if unit != "cpu" or not asked.facts.software.keys() & {"ai_edge_litert", "tflite_runtime"}:
            raise ArtifactError(f"{asked.device.name} has no benchmark_model", WHERE)
    return None


@dataclass(frozen=True)
class Block:
    """One thing that the script did: its words, and what was printed."""

    words: tuple[str, ...]
    text: str


def measure(
    link: LinkTransport, asked: Asked, tool: Tool, folder: Path, progress: Progress
) -> Recorded:
    """What the tool told of everything asked; logits are written into a folder.

    Raises:
        ArtifactError: a file that the device cannot run.
        DeviceError: the device or the tool failed.
    """
    link.hold()
    store = f"{link.root}/store"
    with TemporaryDirectory(prefix="edgenext-") as temporary:
        scratch, inputs = Path(temporary), list[str]()
        paths = [link.push(artifact.path) for artifact in asked.artifacts]
        if asked.images:
            written = (_inputs(asked, a, scratch / a.manifest.sha256) for a in asked.artifacts)
            inputs = [link.push(path) for path in written]
        # the same script has the same name, so that the same job goes on
        body = script(asked, tool, paths, inputs, store)
        nonce = hashlib.sha256(body.encode()).hexdigest()[:12]
        text = say(nonce) + body
        (scratch / "script.sh").write_text(text)
        there = link.push(scratch / "script.sh")
    job = hashlib.sha256(there.encode()).hexdigest()[:16]
    task = Task(job, ("sh", there), "out", asked.how.limit_s, asked.clocks)
    bursts: dict[str, list[Burst]] = {a.manifest.sha256: [] for a in asked.artifacts}
    done = False
    for block in blocks(link.run(task), nonce):
        done |= block.words[0] == "done"
        _take(block, asked, tool, bursts, progress)
    for artifact in asked.artifacts if asked.images else ():
        _logits(link, job, asked, artifact, tool, folder)
    link.remove(job)
    measured = {sha256: _measured(tool, sha256, found) for sha256, found in bursts.items()}
    return Recorded(job, environment(asked.facts), artifacts=measured, done=done)


def script(
    asked: Asked,
    tool: Tool,
    paths: Sequence[str],
    inputs: Sequence[str],
    store: str,
) -> str:
    """The script: build, rounds in turn, then every image through every artifact."""
    lines = [
        "say begin",
        "start=$(date +%s)",
        "must() {",
        'say end "$2" $(($(date +%s) - start))',
        '[ "$1" = 0 ] || { say failed "$2"; exit 1; }',
        "}",
    ]
    models = []
    for artifact, path in zip(asked.artifacts, paths, strict=True):
        model, line = tool.prepare(artifact, path, store)
        models.append(model)
        if line:
            sha256 = artifact.manifest.sha256
            lines += [f"say prepare {sha256}", f"{{ {line}; }} 2>&1", f"must $? {sha256}"]
    more = f"[ $(($(date +%s) - start)) -lt {asked.how.sustained_s:.0f} ]"
    lines += ["round=0 start=$(date +%s)", f"while [ $round -lt {asked.how.rounds} ] || {more}; do"]
    for artifact, model in zip(asked.artifacts, models, strict=True):
        sha256 = artifact.manifest.sha256
        lines += [f"say round {sha256} $round"]
        lines += [f"{{ {tool.time(model)}; }} 2>&1", f"must $? {sha256}"]
    lines += ["round=$((round + 1))", "done"]
    if asked.images:
        for artifact, model, file in zip(asked.artifacts, models, inputs, strict=True):
            lines += _scoring(tool, artifact, model, file, len(asked.images))
    return "\n".join([*lines, "say done", ""])


def say(nonce: str) -> str:
    """The first line of a script: how it tells what it does."""
    return f"say() {{ printf '\\n== {nonce} %s\\n' \"$*\"; }}\n"


def _scoring(tool: Tool, artifact: Artifact, model: str, file: str, n: int) -> list[str]:
    """Every image through one artifact: outputs are files, which outlive an interruption."""
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
            f"{artifact.path} takes batches of {spec.shape[0]}: a device's tools are fed one image "
            "at a time",
            "Export it with --batch 1",
        )
    numbers = math.prod(input_spec(artifact).shape[1:])
    return numbers * np.dtype(spec.dtype).itemsize


def _inputs(asked: Asked, artifact: Artifact, path: Path) -> Path:
    """A file of all images as the artifact takes them, one after the other."""
    assert asked.images is not None  # noqa: S101 - seen by the caller
    session = ArtifactSession(artifact.manifest)
    with path.open("wb") as file:
        for image in asked.images.images:
            file.write(session.prepare(np.asarray(image)[None]).tobytes())
    return path


def blocks(lines: Iterator[str], nonce: str) -> Iterator[Block]:
    """What the script did, one thing at a time."""
    mark, text = f"== {nonce} ", list[str]()
    words: tuple[str, ...] = ()
    for line in lines:
        if line.startswith(mark):
            if words:
                yield Block(words, "\n".join(text))
            words, text = tuple(line.removeprefix(mark).split()), []
        else:
            text.append(line)
    if words:
        yield Block(words, "\n".join(text))


def _take(
    block: Block, asked: Asked, tool: Tool, bursts: dict[str, list[Burst]], progress: Progress
) -> None:
    """Read one block, and tell how far it is."""
    word, *about = block.words
    if word == "begin":  # what an earlier attempt has measured does not count
        for found in bursts.values():
            found.clear()
    names = dict(zip((a.manifest.sha256 for a in asked.artifacts), asked.names, strict=True))
    if not about or about[0] not in names:
        return
    artifact = asked.artifacts[list(names).index(about[0])]
    if word == "round":
        bursts[about[0]].append(tool.burst(artifact, block.text))
        done = len(bursts[about[0]])
        progress(f"benchmarking on {asked.device.name}", done, max(done, asked.how.rounds))
    elif word == "end" and bursts[about[0]] and bursts[about[0]][-1].ended_s is None:
        bursts[about[0]][-1] = replace(bursts[about[0]][-1], ended_s=float(about[1]))
    elif word == "logits" and asked.images:
        progress(f"evaluating {names[about[0]]}", int(about[1]), len(asked.images))
    elif word == "prepare" and "FAILED" in block.text:
        tool.burst(artifact, block.text)  # raises what the tool said


def _logits(
    link: LinkTransport, job: str, asked: Asked, artifact: Artifact, tool: Tool, folder: Path
) -> None:
    """Fetch the outputs of all images and keep their logits as our runner would."""
    assert asked.images is not None  # noqa: S101 - seen by the caller
    sha256 = artifact.manifest.sha256
    sizes = [int(word) for word in link.text(job, f"sizes-{sha256[:16]}").split()]
    if len(sizes) != len(asked.images):
        raise DeviceError(f"{asked.device.name} gave {len(sizes)} outputs of {artifact.name}")
    link.pull(job, f"all-{sha256[:16]}", folder / "all")
    data, at, rows = (folder / "all").read_bytes(), 0, []
    for size in sizes:
        rows.append(tool.logits(artifact, data[at : at + size])[:1])
        at += size
    np.concatenate(rows).astype("<f4").tofile(folder / f"logits-{sha256}.f32")


def _measured(tool: Tool, sha256: str, bursts: Sequence[Burst]) -> Measured:
    """What all rounds of one artifact came to, as our runner would tell it."""
    if not bursts:
        return Measured()
    first = bursts[0]
    every = [b.memory_mb for b in bursts if b.memory_mb is not None]
    warm = Warm(
        runtime=tool.runtime,
        batch=1,
        burst=len(first.samples_ms),
        load_ms=first.load_ms,
        first_ms=first.first_ms or first.samples_ms[0],
        warmup=0,
        settled=True,
    )
    ready = ReadyEvent(
        artifact=sha256,
        ready=warm,
        unit=first.unit,
        units=first.units or {},
        partitions=first.partitions,
    )
    return Measured(
        ready=ready,
        rounds=tuple(b.samples_ms for b in bursts),
        at_s=tuple(b.ended_s for b in bursts if b.ended_s is not None),
        peak_rss_mb=max(every, default=0.0),
    )


def environment(facts: DeviceFacts) -> Environment:
    """The device as a record of where a number was made: what it was probed to be."""
    return Environment(
        cpu=facts.soc or facts.model or facts.machine,
        isa=facts.isa,
        cores=max(facts.cores, 1),
        memory_gb=round(facts.memory_mb / 1024, 1),
        os=facts.os,
        python=facts.software.get("python", ""),
        packages={k: v for k, v in facts.software.items() if k != "python"},
    )
