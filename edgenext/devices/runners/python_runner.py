"""Measuring with our own runner: it is pushed to the device with everything it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile, ZipInfo

import numpy as np

from edgenext.devices.job import Job, JobArtifact, JobImages
from edgenext.devices.protocol import Event, Failed, LogitsDone, Recorded, Round, parse_line, record
from edgenext.devices.request import Asked, input_spec
from edgenext.devices.transports.link import LinkTransport
from edgenext.devices.transports.transport import Task
from edgenext.errors import ArtifactError, DeviceError
from edgenext.system.files import sha256_file
from edgenext.system.progress import Progress

RESULTS, SENSORS = "results.jsonl", "sensors.jsonl"
"""What the runner writes beside the logits."""
FORMATS = ("onnx", "tensorrt", "tflite")
"""What it can run."""
SENSOR_S = 3.0
"""How long each artifact runs without a pause while power is read."""
MAIN = "import sys; from runner.run import main; sys.exit(main(sys.argv[1:]))"
"""What Python runs of the runner's file."""
EMULATED = {"rounds": 1, "min_warmup": 1, "max_warmup": 1}
"""Nothing is timed under emulation, and everything takes a hundred times as long."""


def measure(link: LinkTransport, asked: Asked, folder: Path, progress: Progress) -> Recorded:
    """What the runner told of everything asked; logits and sensors are fetched into a folder.

    Raises:
        ArtifactError: a format that the runner does not run.
        DeviceError: the device or the runner failed.
    """
    for artifact in asked.artifacts:
        if artifact.manifest.format not in FORMATS:
            raise ArtifactError(
                f"{artifact.path} cannot run on {asked.device.name}: our runner there takes "
                f"{', '.join(FORMATS)}",
                "Export it in one of these formats",
            )
    if "python" not in asked.facts.software:
        raise DeviceError(
            f"{asked.device.name} has no Python at {asked.device.python}",
            "Add it again with --python, the interpreter that has onnxruntime or LiteRT",
        )
    with TemporaryDirectory(prefix="edgenext-") as temporary:
        there = push(link, asked, Path(temporary), progress)
    # On a link, a job has the name that its content gives it: the same job goes on.
    job = Path(there[-1]).name[:16]
    python = asked.device.python
    argv = (python, there[0], there[-1], f"{link.root}/store")
    task = Task(job, argv, RESULTS, asked.how.limit_s, asked.clocks)
    events = (parse_line(line) for line in link.run(task) if line.strip())
    recorded = record(watched(events, asked, progress))
    for artifact in asked.artifacts if asked.images else ():
        name = f"logits-{artifact.manifest.sha256}.f32"
        link.pull(job, name, folder / name)
    if sensors := link.text(job, SENSORS):
        (folder / SENSORS).write_text(sensors)
    link.remove(job)
    return recorded


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


def push(link: LinkTransport, asked: Asked, temporary: Path, progress: Progress) -> list[str]:
    """Bring the runner, the artifacts, the images and the job there; their paths, in this order."""
    runner = pack(temporary / "runner.pyz")
    sources = [runner, *(a.path for a in asked.artifacts)]
    if asked.images:
        pixels = temporary / "images.u8"
        np.ascontiguousarray(asked.images.images).tofile(pixels)
        sources.append(pixels)
    job = temporary / "job.json"
    job.write_text(job_of(asked, sources[-1]).model_dump_json())
    paths = []
    for done, source in enumerate((*sources, job), 1):
        paths.append(link.push(source))
        progress(f"sending to {asked.device.name}", done, len(sources) + 1)
    return paths


def job_of(asked: Asked, pixels: Path) -> Job:
    """What the runner is asked. Files are called by their sha256, as they lie on the device."""
    artifacts = tuple(
        JobArtifact(
            sha256=a.manifest.sha256,
            file=a.manifest.sha256,
            name=name,
            input=input_spec(a),
            output=a.manifest.outputs[0].name,
            unit=asked.unit,
            format=a.manifest.format,
        )
        for name, a in zip(asked.names, asked.artifacts, strict=True)
    )
    images = None
    if asked.images:
        digest = sha256_file(pixels)
        n, height, width, _ = asked.images.images.shape
        images = JobImages(file=digest, sha256=digest, shape=(n, height, width, 3))
    how, tegrastats = asked.how, asked.facts.tools.get("tegrastats")
    job = Job(
        job="",
        artifacts=artifacts,
        images=images,
        mean=asked.transform.mean,
        std=asked.transform.std,
        threads=how.threads,
        batch=how.batch,
        rounds=how.rounds,
        seed=asked.how.seed,
        sustained_s=how.sustained_s,
        sensor=(tegrastats, "--interval", "200") if tegrastats else (),
        sensor_s=SENSOR_S if tegrastats and not asked.facts.emulator else 0.0,
    )
    if asked.facts.emulator:
        job = job.model_copy(update=EMULATED)
    name = hashlib.sha256(job.model_dump_json().encode()).hexdigest()[:16]
    return job.model_copy(update={"job": name})


def watched(events: Iterable[Event], asked: Asked, progress: Progress) -> Iterator[Event]:
    """The same events, with the progress that they tell of shown.

    Raises:
        DeviceError: the runner gave up.
    """
    names = dict(zip((a.manifest.sha256 for a in asked.artifacts), asked.names, strict=True))
    last = asked.artifacts[-1].manifest.sha256
    for event in events:
        if isinstance(event, Failed) and event.artifact is None:
            raise DeviceError(f"{asked.device.name}: {event.message}")
        if isinstance(event, Round) and event.artifact == last:
            total = max(asked.how.rounds, event.round + 1)
            progress(f"benchmarking on {asked.device.name}", event.round + 1, total)
        elif isinstance(event, LogitsDone) and event.artifact in names:
            progress(f"evaluating {names[event.artifact]}", event.done, event.total)
        yield event
