"""Measuring with our own runner, which is pushed to the device with its job and its files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np

from edgenext.devices.job import DeviceJob, JobArtifact, JobImages
from edgenext.devices.link import DeviceLink, DeviceTask
from edgenext.devices.protocol import (
    ErrorEvent,
    Event,
    LogitsEvent,
    RoundEvent,
    RunnerRecord,
    parse_line,
    record_events,
)
from edgenext.devices.request import DeviceRequest, input_spec
from edgenext.errors import ArtifactError, DeviceError
from edgenext.formats.artifact import Artifact, companion_path
from edgenext.formats.format import FORMATS
from edgenext.formats.openvino.session import precision
from edgenext.schema import Device, DeviceFacts
from edgenext.system.files import sha256_file
from edgenext.system.progress import Progress
from edgenext.system.temporary import scratch_folder

OPENVINO = FORMATS["openvino"]
RESULTS, SENSORS = "results.jsonl", "sensors.jsonl"
"""Files that the runner writes besides the logits."""
PACKAGES = {
    "onnxruntime": ("onnxruntime",),
    "litert": ("ai_edge_litert", "tflite_runtime"),
    "openvino": ("openvino",),
}
"""The runner's runtimes, and the Python packages that have each: one of them is enough."""
RUNTIMES = {"onnx": "onnxruntime", "tensorrt": "onnxruntime", "tflite": "litert"}
"""The runtime of each format but OpenVINO's, which depends on the target: see `runtime_of`."""
SENSOR_S = 3.0
"""How long each artifact runs without a pause while its power is read."""
MAIN = "import sys; from runner.run import main; sys.exit(main(sys.argv[1:]))"
"""The `__main__` of the runner's file."""
EMULATED = {"rounds": 1, "min_warmup": 1, "max_warmup": 1, "repeat_base": False}
"""Settings under emulation, where times are not reported and all is a hundred times slower."""


def measure_with_runner(
    link: DeviceLink, request: DeviceRequest, folder: Path, progress: Progress
) -> RunnerRecord:
    """The record of a request that our runner measures; logits and sensors go into a folder.

    Raises:
        ArtifactError: the runner has no runtime for a format.
        DeviceError: the device or the runner failed.
    """
    device, options = request.device, request.options
    _check_runnable(request)
    with scratch_folder() as temporary:
        runner, *_, job_file = push(link, request, temporary, progress)
    # The file's name is its hash: the same job has the same name and is continued.
    job = Path(job_file).name[:16]
    argv = (device.python, runner, job_file, f"{link.root}/store")
    task = DeviceTask(job, argv, RESULTS, options.limit_s, request.clocks)
    events = (parse_line(line) for line in link.run(task) if line.strip())
    record = record_events(with_progress(events, request, progress))
    for artifact in request.artifacts if request.images else ():
        name = f"logits-{artifact.manifest.sha256}.f32"
        link.pull(job, name, folder / name)
    if sensors := link.text(job, SENSORS):
        (folder / SENSORS).write_text(sensors)
    link.remove(job)
    return record


def runtime_of(artifact_format: str, target: str) -> str:
    """The runner's runtime for a format as a target runs it; empty if it has none."""
    if any((run.format, run.target) == (artifact_format, target) for run in OPENVINO.runs):
        return "openvino"
    return RUNTIMES.get(artifact_format, "")


def lacking(device: Device, facts: DeviceFacts, artifact_format: str, target: str) -> str:
    """What a device lacks to run a format as a target does, as a remedy; empty for nothing."""
    runtime = runtime_of(artifact_format, target)
    if not runtime:
        formats = (*RUNTIMES, OPENVINO.folder)
        return f"The runner on a device takes {', '.join(formats)}: export it in one of these"
    packages = PACKAGES[runtime]
    if not facts.software.keys().isdisjoint(packages):
        return ""
    return f"Install {packages[0].replace('_', '-')} on {device.name}, for its {device.python}"


def _check_runnable(request: DeviceRequest) -> None:
    device, facts = request.device, request.facts
    if "python" not in facts.software:
        raise DeviceError(
            f"{device.name} has no Python at {device.python}",
            "Add it again with --python, the interpreter that has onnxruntime, LiteRT or OpenVINO",
        )
    for artifact in request.artifacts:
        manifest = artifact.manifest
        if remedy := lacking(device, facts, manifest.format, manifest.target):
            raise ArtifactError(f"{artifact.path} cannot run on {device.name}", remedy)


def pack(path: Path) -> Path:
    """Write the runner as one file that Python runs, always the same bytes; its path."""
    modules = resources.files(__package__) / "runner"
    sources = {
        f"runner/{module.name}": module.read_text()
        for module in sorted(modules.iterdir(), key=lambda m: m.name)
        if module.name.endswith(".py")
    }
    with ZipFile(path, "w") as archive:
        for name, source in {"__main__.py": MAIN, **sources}.items():
            archive.writestr(ZipInfo(name), source)
    return path


def push(
    link: DeviceLink, request: DeviceRequest, temporary: Path, progress: Progress
) -> list[str]:
    """Push the runner, the artifacts, the images and the job; their paths, in this order."""
    runner = pack(temporary / "runner.pyz")
    companions = (companion_path(a.path) for a in request.artifacts)
    sources = [runner, *(a.path for a in request.artifacts), *filter(None, companions)]
    if request.images:
        pixels = temporary / "images.u8"
        np.ascontiguousarray(request.images.images).tofile(pixels)
        sources.append(pixels)
    job = temporary / "job.json"
    job.write_text(job_of(request, sources[-1]).model_dump_json())
    paths = []
    for done, source in enumerate((*sources, job), 1):
        paths.append(link.push(source))
        progress(f"sending to {request.device.name}", done, len(sources) + 1)
    return paths


def job_of(request: DeviceRequest, pixels: Path) -> DeviceJob:
    """The runner's job; files have their sha256 as names, as they are stored on the device."""
    artifacts = tuple(
        job_artifact(artifact, name, request.unit)
        for name, artifact in zip(request.names, request.artifacts, strict=True)
    )
    images = None
    if request.images:
        digest = sha256_file(pixels)
        n, height, width, _ = request.images.images.shape
        images = JobImages(file=digest, sha256=digest, shape=(n, height, width, 3))
    options, tegrastats = request.options, request.facts.tools.get("tegrastats")
    job = DeviceJob(
        job="",
        artifacts=artifacts,
        images=images,
        mean=request.transform.mean,
        std=request.transform.std,
        threads=options.threads,
        batch=options.batch,
        rounds=options.rounds,
        seed=options.seed,
        sustained_s=options.sustained_s,
        repeat_base=True,
        sensor=(tegrastats, "--interval", "200") if tegrastats else (),
        sensor_s=SENSOR_S if tegrastats and not request.facts.emulator else 0.0,
    )
    if request.facts.emulator:
        job = job.model_copy(update=EMULATED)
    name = hashlib.sha256(job.model_dump_json().encode()).hexdigest()[:16]
    return job.model_copy(update={"job": name})


def job_artifact(artifact: Artifact, name: str, unit: str) -> JobArtifact:
    """An artifact in the runner's job, to run on a compute unit."""
    manifest, companion = artifact.manifest, companion_path(artifact.path)
    return JobArtifact(
        sha256=manifest.sha256,
        file=sha256_file(artifact.path),
        weights=sha256_file(companion) if companion else None,
        name=name,
        input=input_spec(artifact),
        output=manifest.outputs[0].name,
        unit=unit,
        format=manifest.format,
        runtime=runtime_of(manifest.format, manifest.target),
        precision=precision(manifest),
    )


def with_progress(
    events: Iterable[Event], request: DeviceRequest, progress: Progress
) -> Iterator[Event]:
    """The same events, while progress is reported from them.

    Raises:
        DeviceError: the runner reported an error that ended the run.
    """
    names = dict(zip((a.manifest.sha256 for a in request.artifacts), request.names, strict=True))
    last, device = request.artifacts[-1].manifest.sha256, request.device.name
    for event in events:
        if isinstance(event, ErrorEvent) and event.artifact is None:
            raise DeviceError(f"{device}: {event.message}")
        if isinstance(event, RoundEvent) and event.artifact == last and not event.second:
            total = max(request.options.rounds, event.round + 1)
            progress(f"benchmarking on {device}", event.round + 1, total)
        elif isinstance(event, LogitsEvent) and event.artifact in names:
            progress(f"evaluating {names[event.artifact]}", event.done, event.total)
        yield event
