"""Every reader of files that a user or a device gives, as one table.

A reader has a specimen, a folder that it accepts; the mutations of each file in it; and a call that
must end well or in an `EdgenextError`, within its limits of time and memory. `seal` repairs hashes
after a mutation, so that what is behind them is reached, too.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.mutations import (
    Mutation,
    bytes_mutation,
    header_mutation,
    json_mutation,
    message_mutation,
    text_mutation,
    toml_mutation,
    zip_mutation,
)

SAMPLES = Path(__file__).parents[1] / "devices/samples"


@dataclass(frozen=True)
class Reader:
    """One reader; see the module.

    `share` is its share of a campaign's inputs relative to the others, `tier` `fast` for those that
    the test suite runs, too. `limit_s` and `limit_mb` bound one input.
    """

    name: str
    build: Callable[[Path], object]
    files: Mapping[str, Mutation]
    read: Callable[[Path], object]
    seal: Callable[[Path], object] | None = None
    share: float = 1.0
    tier: str = "fast"
    limit_s: float = 10.0
    limit_mb: float = 2048.0
    notes: str = field(default="", compare=False)

    def mutate(self, specimen: Path, folder: Path, rng: random.Random) -> None:
        """A copy of the specimen in `folder`, with one or two of its files changed."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(specimen, folder)
        names = sorted(self.files)
        for name in rng.sample(names, min(len(names), rng.choice((1, 1, 1, 2)))):
            path = folder / name
            path.write_bytes(self.files[name](path.read_bytes(), rng))
        if self.seal and rng.random() < 0.8:
            self.seal(folder)


# --- artifacts ---------------------------------------------------------------------------------


def _tiny(folder: Path) -> None:
    from tiny_artifacts import tiny_artifact

    tiny_artifact(folder, "it")


def seal_artifact(folder: Path) -> None:
    """Give the manifest of an artifact the sha256 of its changed content."""
    from edgenext.formats.artifact import content_sha256, manifest_path

    manifest = next(p for p in folder.glob("*.json") if p.with_suffix("").exists())
    artifact = manifest.with_suffix("")
    try:
        values = json.loads(manifest.read_bytes())
        values["sha256"] = content_sha256(artifact)
        manifest_path(artifact).write_text(json.dumps(values))
    except (ValueError, TypeError, RecursionError):
        return


def _first_artifact(folder: Path) -> Path:
    return next(p.with_suffix("") for p in folder.glob("*.json") if p.with_suffix("").exists())


def _open(folder: Path) -> Any:
    from edgenext.commands.subject import open_subject

    return open_subject(str(_first_artifact(folder)))


def _read_graph(folder: Path) -> None:
    from edgenext.export.artifacts import read_graph

    subject = _open(folder)
    if subject is not None:
        read_graph(subject.artifact)


def _run(folder: Path) -> None:
    """What `edgenext eval` does with a file: open it, and compute the logits of two images."""
    from edgenext.formats.session import logits

    subject = _open(folder)
    if subject is None:
        return
    size = subject.transform.size
    list(logits(subject.session(threads=1), np.zeros((2, size, size, 3), np.uint8)))


def _use_graph(folder: Path) -> None:
    """What `edgenext quantize` does with a graph before it is calibrated."""
    import onnx_ir as ir

    from edgenext.export.artifacts import read_graph
    from edgenext.formats.isolated_session import require_no_crash
    from edgenext.graph.sites import find_sites

    subject = _open(folder)
    if subject is not None:
        require_no_crash(subject.artifact)
        find_sites(ir.from_proto(read_graph(subject.artifact).model).graph)


def _exported(format_: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        from edgenext import api
        from edgenext.options import ExportOptions, ModelOptions

        model = ModelOptions(random_weights=True, num_classes=10, size=32)
        api.export("edgenext_xx_small", model, ExportOptions(format=format_), out=folder)

    return build


def _onnx(data: bytes, rng: random.Random) -> bytes:
    import onnx

    return message_mutation(onnx.ModelProto)(data, rng)


def _mlmodel(data: bytes, rng: random.Random) -> bytes:
    from coremltools import proto

    return message_mutation(proto.Model_pb2.Model)(data, rng)


def _package(folder: Path) -> None:
    from devices.pooled_packages import core_package

    core_package(folder, "it", 0)


# --- weights -----------------------------------------------------------------------------------

XXS = "edgenext_xx_small"


def _state() -> Any:
    from edgenext.models.random_weights import random_state

    return random_state(XXS, 10, 0)


def _safetensors(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(_state(), folder / "it.safetensors")
    sidecar = {"arch": XXS, "num_classes": 10, "eval": {"size": 64}, "labels": list("0123456789")}
    (folder / "it.json").write_text(json.dumps(sidecar))
    (folder / "labels.txt").write_text("".join(f"n{i}\tclass {i}\n" for i in range(10)))


def _torch_file(zipped: bool) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        import torch

        small = {k: v for k, v in _state().items() if v.numel() < 5000}
        torch.save(
            {"model": small, "epoch": 3, "args": {"lr": 0.1}},
            folder / "it.pth",
            _use_new_zipfile_serialization=zipped,
        )

    return build


def _load_weights(folder: Path) -> None:
    from edgenext.models.checkpoint import load_checkpoint

    labels = folder / "labels.txt"
    weights = next(p for p in folder.iterdir() if p.suffix in (".safetensors", ".pth"))
    load_checkpoint(None, weights, labels=labels if labels.exists() else None)


def _safetensors_header(data: bytes, rng: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.4 or size > len(data):
        return header_mutation(data, rng)
    header = json_mutation(data[8 : 8 + size], rng)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def _training_state() -> Any:
    import torch

    from edgenext.train.checkpoint import TrainingState
    from edgenext.train.ema import Ema
    from edgenext.train.recipe import TrainRecipe

    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    recipe = TrainRecipe(epochs=2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return TrainingState(network, Ema(network, 0.9), optimizer, recipe, XXS, "0" * 64, None)


def _training(folder: Path) -> None:
    from edgenext.train.checkpoint import save_checkpoint
    from edgenext.train.recipe import EpochReport

    state = _training_state()
    state.history.append(EpochReport(1, 2, 0.5, 0.1, 3.0, None))
    save_checkpoint(state, folder / "checkpoint.pth")


def _resume(folder: Path) -> None:
    import torch

    from edgenext.train.checkpoint import restore_checkpoint

    state = _training_state()
    before = torch.get_rng_state()
    restore_checkpoint(state, folder / "checkpoint.pth")
    torch.set_rng_state(before)
    state.network(torch.ones(1, 3)).sum().backward()
    state.optimizer.step()  # what was restored must be usable


# --- images ------------------------------------------------------------------------------------

ENDINGS = {"jpg": "JPEG", "png": "PNG", "bmp": "BMP", "webp": "WEBP", "ppm": "PPM", "tif": "TIFF"}


def _picture(rng: random.Random, kind: str, size: tuple[int, int] = (40, 36)) -> bytes:
    from PIL import Image

    pixels = np.frombuffer(rng.randbytes(size[0] * size[1] * 3), np.uint8).reshape(*size, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _pictures(folder: Path) -> None:
    rng = random.Random(0)
    for label in "ab":
        (folder / "data" / label).mkdir(parents=True)
        for ending, kind in ENDINGS.items():
            (folder / "data" / label / f"x.{ending}").write_bytes(_picture(rng, kind))


def _image_zip(folder: Path) -> None:
    _pictures(folder)
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        for path in sorted((folder / "data").rglob("*.*")):
            archive.write(path, path.relative_to(folder / "data"))
    shutil.rmtree(folder / "data")


def _load_images(folder: Path) -> None:
    from edgenext.data import load_images
    from edgenext.schema import EvalTransform

    data = next(p for p in folder.iterdir() if p.name.startswith("data"))
    for limit in (None, 2):
        load_images(
            data,
            EvalTransform(size=32),
            role="val",
            num_classes=2,
            limit=limit,
            cache_dir=folder / "cache",
            workers=1,
        )


# --- configurations, runs, caches --------------------------------------------------------------


def _config(folder: Path) -> None:
    demo = Path(__file__).parents[2] / "demo.toml"
    shutil.copy(demo, folder / "run.toml")


def _read_config(folder: Path) -> None:
    from edgenext.commands.config import read_config

    read_config(folder / "run.toml", {})


def _recipe(folder: Path) -> None:
    from edgenext.targets.target import recipe_text

    (folder / "recipe.toml").write_text(recipe_text("cpu-onnxruntime", "w8a8-static"))


def _read_recipe(folder: Path) -> None:
    from edgenext.quantize.recipe import load_recipe

    load_recipe("cpu-onnxruntime", file=folder / "recipe.toml")


def _run_folder(folder: Path) -> None:
    from report.report_runs import measured, save

    run, arrays = measured()
    save(folder, run, arrays)
    (folder / "devices").mkdir()
    (folder / "devices" / "one.json").write_text(run.bench.model_dump_json())


def _report(folder: Path) -> None:
    from edgenext.report import write_report

    write_report(folder)


def _caches(folder: Path) -> None:
    from edgenext.commands.stages import Stages

    stages = Stages(folder, lambda *_: None)
    (folder / "file").write_text("x")
    stages.stage("one", {"a": 1}, lambda: [folder / "file"])
    record = {"name": XXS, "sha256": "0" * 64, "size_bytes": 1, "url": "https://example.org"}
    (folder / "weights").mkdir()
    (folder / "weights" / "edgenext_xx_small.sha256.json").write_text(json.dumps(record))
    resume = {"url": "https://example.org", "version": '"etag"', "total": 100}
    (folder / "it.pth.part.json").write_text(json.dumps(resume))


def _read_caches(folder: Path) -> None:
    from edgenext.commands.stages import Stages
    from edgenext.models.cache import find_published, known_sha256

    stages = Stages(folder, lambda *_: None)
    stages.stage("one", {"a": 1}, lambda: [folder / "file"])
    find_published("0" * 64, folder)
    known_sha256(XXS, folder)


def _registry(folder: Path) -> None:
    from edgenext.devices.registry import DeviceFile
    from edgenext.schema import Device

    devices = {
        "nano": Device(name="nano", kind="jetson", ssh="a@b"),
        "mac": Device(name="mac", kind="iphone", bundle="folder"),
    }
    (folder / "devices.json").write_text(DeviceFile(devices=devices).model_dump_json(indent=2))


def _read_registry(folder: Path) -> None:
    import os

    from edgenext.devices.registry import find_device, known_devices

    os.environ["EDGENEXT_DEVICES"] = str(folder / "devices.json")
    known_devices()
    find_device("nano")


# --- devices -----------------------------------------------------------------------------------


def _start_event(job: str) -> dict[str, Any]:
    environment = {"cpu": "A17", "isa": [], "cores": 6, "memory_gb": 8.0, "os": "iOS 18"}
    return {
        "event": "start",
        "protocol": 1,
        "job": job,
        "environment": environment | {"python": "", "packages": {}},
    }


SHA = "ab" * 32
RUNTIME = {"runtime": "onnxruntime", "batch": 1, "burst": 2, "load_ms": 1.0, "first_ms": 2.0}
RUNTIME |= {"warmup": 10, "settled": True}


def _events(rounds: int = 3) -> list[dict[str, Any]]:
    timed = [
        {"event": "round", "artifact": SHA, "round": i, "at_s": i / 2, "samples_ms": [1.0, 2.0]}
        for i in range(rounds)
    ]
    return [
        _start_event("0" * 16),
        {"event": "ready", "artifact": SHA, "ready": RUNTIME, "unit": "cpu", "units": {}},
        *timed,
        {"event": "state", "thermal": 0, "battery": 90.0, "charging": True},
        {"event": "conditions", "cores": 4, "others": 0.1, "stolen": 0.0, "clocks_mhz": [1000.0]},
        {"event": "load", "artifact": SHA, "seconds": 3.0, "inferences": 100},
        {"event": "logits", "artifact": SHA, "done": 2, "total": 2},
        {"event": "peak", "artifact": SHA, "peak_rss_mb": 20.0},
        {"event": "new", "x": 1},
        {"event": "done"},
    ]


def _jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _device_results(folder: Path) -> None:
    (folder / "results.jsonl").write_text(_jsonl(_events()))
    line = (SAMPLES / "tegrastats/orin_nano_jetpack72.txt").read_text().splitlines()[0]
    sensors = [{"t": t, "during": d, "line": line} for t, d in ((1, "idle"), (2, f"load {SHA}"))]
    (folder / "sensors.jsonl").write_text(_jsonl(sensors))
    np.ones((2, 3), "<f4").tofile(folder / f"logits-{SHA}.f32")


def _device_report(folder: Path) -> None:
    """What is made of the files that a runner has written on a device."""
    from dataclasses import replace

    from devices.sample_requests import request_for

    from edgenext.devices.protocol import parse_line, record_events
    from edgenext.devices.results import device_report, read_logits
    from edgenext.options import BenchOptions
    from edgenext.schema import DeviceFacts

    text = (folder / "results.jsonl").read_bytes().decode(errors="replace")
    record = record_events(map(parse_line, text.splitlines()))
    facts = DeviceFacts(kind="jetson", machine="aarch64", whole_rail="VDD_IN")
    request = request_for(facts, "fp32", options=BenchOptions(rounds=3))
    manifest = request.artifacts[0].manifest.model_copy(update={"sha256": SHA})
    artifact = replace(request.artifacts[0], manifest=manifest)
    request = replace(request, artifacts=(artifact,))
    device_report(request, record, facts, folder).model_dump_json()
    read_logits(folder / f"logits-{SHA}.f32", 2, 3, "it")


def _bundle(folder: Path) -> None:
    from tiny_artifacts import tiny_artifact

    from edgenext.devices.bundles.results import JOB_FILE
    from edgenext.devices.job import DeviceJob, JobArtifact, JobImages

    artifact = tiny_artifact(folder, "it", batch=1)
    images = JobImages(file="images.u8", shape=(2, 32, 32, 3), sha256="0" * 64)
    item = JobArtifact(
        sha256=artifact.manifest.sha256,
        file="it.onnx",
        name="it",
        input=artifact.manifest.input,
        output="logits",
        unit="cpu",
    )
    mean = (0.5, 0.5, 0.5)
    job = DeviceJob(job="0" * 16, artifacts=(item,), images=images, mean=mean, std=mean, rounds=3)
    results = folder / "results"
    results.mkdir()
    (results / JOB_FILE).write_text(job.model_dump_json())
    logits = np.ones((2, 10), "<f4").tobytes()
    (results / "logits").write_bytes(logits)
    text = _jsonl(_events()).replace(SHA, artifact.manifest.sha256)
    (results / "results.jsonl").write_text(text)
    _seal_bundle(folder)


def _seal_bundle(folder: Path) -> None:
    """Give changed results the hashes that a runner gives them."""
    results = folder / "results"
    name = json.loads((folder / "it.onnx.json").read_bytes())["sha256"]
    logits = (results / "logits").read_bytes()
    (results / f"logits-{name}.f32").write_bytes(logits)
    lines = (results / "results.jsonl").read_bytes().splitlines(keepends=True)
    sealed = []
    for line in lines:
        try:
            row = json.loads(line)
            if row.get("event") == "done":
                row["sha256"] = hashlib.sha256(b"".join(sealed)).hexdigest()
                line = json.dumps(row).encode() + b"\n"
            elif row.get("event") == "logits":
                row["sha256"] = hashlib.sha256(logits).hexdigest()
                line = json.dumps(row).encode() + b"\n"
        except (ValueError, AttributeError, RecursionError):
            pass
        sealed.append(line)
    (results / "results.jsonl").write_bytes(b"".join(sealed))


def _import_bundle(folder: Path) -> None:
    from edgenext.devices.bundles.results import read_results
    from edgenext.formats.artifact import open_artifact

    read_results(folder, [open_artifact(folder / "it.onnx")])


def _tool_outputs(folder: Path) -> None:
    for name in ("passed_8.4.txt", "outputs.json"):
        shutil.copy(SAMPLES / "trtexec" / name, folder / name)
    times = [{"startComputeMs": 600.0 * i, "computeMs": 1.5, "latencyMs": 2} for i in range(5)]
    (folder / "times.json").write_text(json.dumps(times))
    for name in ("cpu.txt", "two_delegates.txt"):
        shutil.copy(SAMPLES / "benchmark_model" / name, folder / name)
    (folder / "output.raw").write_bytes(np.ones(3, "<f4").tobytes())
    (folder / "script.txt").write_text(
        f"== n begin\n== n prepare {SHA}\nok\n== n end {SHA} 3\n== n round {SHA} 0\nx\n"
        f"== n end {SHA} 4\n== n logits {SHA} 10\n== n done\n"
    )


class _AnyTool:
    """Of a script's steps only their words are read here."""

    def read_round(self, *_: object) -> Any:
        from edgenext.devices.runners.tools import ToolRound

        return ToolRound((1.0,), "x")


def _read_tools(folder: Path) -> None:
    """What the vendors' tools print and write, as a device may give it."""
    from dataclasses import replace

    from devices.sample_requests import artifact, request_for

    from edgenext.devices.runners import vendor_tool
    from edgenext.devices.runners.tools import BenchmarkModelTool, TrtexecTool
    from edgenext.options import BenchOptions
    from edgenext.schema import DeviceFacts
    from edgenext.system.progress import quiet

    def text(name: str) -> str:
        return (folder / name).read_bytes().decode(errors="replace")

    tools = {"trtexec": "/t", "benchmark_model": "/b"}
    facts = DeviceFacts(kind="jetson", machine="aarch64", tools=tools)
    request = request_for(facts, "fp32", options=BenchOptions(rounds=3))
    file = artifact("fp32")
    trtexec, benchmark = TrtexecTool(request), BenchmarkModelTool(request)
    named = replace(file, manifest=file.manifest.model_copy(update={"sha256": SHA}))
    scripted = replace(request, artifacts=(named,))
    rounds: dict[str, list[Any]] = {SHA: []}
    calls: tuple[Callable[[], object], ...] = (
        lambda: trtexec.read_round(
            file, f"{text('passed_8.4.txt')}\ntimes.json\n{text('times.json')}"
        ),
        lambda: trtexec.read_logits(file, (folder / "outputs.json").read_bytes()),
        lambda: benchmark.read_round(file, text("cpu.txt")),
        lambda: benchmark.read_round(file, text("two_delegates.txt")),
        lambda: benchmark.read_logits(file, (folder / "output.raw").read_bytes()),
        lambda: [
            vendor_tool._read_step(step, scripted, _AnyTool(), rounds, quiet)  # type: ignore[arg-type]
            for step in vendor_tool.read_steps(iter(text("script.txt").split("\n")), "n")
        ],
    )
    _each(calls)


def _each(calls: tuple[Callable[[], object], ...]) -> None:
    """Call all; the first expected error is raised at the end."""
    from edgenext.errors import EdgenextError

    errors = []
    for call in calls:
        try:
            call()
        except EdgenextError as e:
            errors.append(e)
    if errors:
        raise errors[0]


def _probe(folder: Path) -> None:
    shutil.copy(SAMPLES / "jetson/probe_orin_nano_jetpack72.txt", folder / "jetson.txt")
    sections = {"uname": "aarch64\n6.1", "getprop": "", "end": ""}
    for name, file in (
        ("getprop", "getprop_pixel.txt"),
        ("battery", "battery.txt"),
        ("thermalservice", "thermal_samsung.txt"),
    ):
        sections[name] = (SAMPLES / "android" / file).read_text()
    sections["python"] = '{"python": {"version": "3.11"}, "onnxruntime": {"providers": ["CPU"]}}'
    text = "".join(f"== {name}\n{body}\n" for name, body in sections.items())
    (folder / "android.txt").write_text(text)


def _read_probe(folder: Path) -> None:
    from edgenext.devices.probes.probe import parse_facts, parse_sections

    _each(
        tuple(
            lambda name=name: parse_facts(
                parse_sections((folder / name).read_bytes().decode(errors="replace"))
            ).model_dump_json()
            for name in ("jetson.txt", "android.txt")
        )
    )


def _answers(folder: Path) -> None:
    """What a device answers to each verb of its agent, one file a verb."""
    answers = {
        "hello": "/home/nano/.edgenext\n",
        "owner": "\n",
        "lock": "",
        "need": "100000 0 1\n",
        "join": "",
        "tidy": "",
        "start": "",
        "follow": 'exit 0\n{"event": "x"}\nsecond line\n',
        "size": "20\n",
        "piece": "12345678901234567890",
    }
    for name, text in answers.items():
        (folder / name).write_text(text)


class HostileChannel:
    """A channel to a device that answers with the files of a folder."""

    where, root = "a device", "~/.edgenext"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def call(self, command: str, _stdin: bytes = b"", timeout_s: float = 60.0) -> Any:
        import shlex

        from edgenext.devices.transport import Reply

        words = shlex.split(command)
        if words[:2] == ["sh", "-s"] and len(words) > 4:
            nonce, verb = words[2], words[4]
            path = self._folder / verb
            body = path.read_bytes() if path.is_file() else b""
            return Reply(0, body + f"\nedgenext {nonce} ok\n".encode(), "")
        name = "size" if command.startswith("wc") else "piece"
        return Reply(0, (self._folder / name).read_bytes(), "")

    def close(self) -> None: ...


def _link(folder: Path) -> None:
    """Push, run and pull with a device that answers anything."""
    from edgenext.devices.link import DeviceLink, DeviceTask

    def link() -> DeviceLink:
        return DeviceLink(HostileChannel(folder), patience_s=0.0)

    _each(
        (
            lambda: link().push(folder / "piece"),
            lambda: list(link().run(DeviceTask("job", ("x",), "out", limit_s=0.5))),
            lambda: link().pull("job", "out", folder / "pulled"),
            lambda: link().text("job", "out"),
        )
    )


_npz = zip_mutation(header_mutation)


READERS: tuple[Reader, ...] = (
    Reader("manifest", _tiny, {"it.onnx.json": json_mutation}, _open),
    Reader("ONNX graph", _tiny, {"it.onnx": _onnx}, _read_graph, seal_artifact),
    Reader(
        "safetensors",
        _safetensors,
        {
            "it.safetensors": _safetensors_header,
            "it.json": json_mutation,
            "labels.txt": text_mutation,
        },
        _load_weights,
    ),
    Reader("PyTorch zip", _torch_file(True), {"it.pth": header_mutation}, _load_weights),
    Reader("PyTorch pickle", _torch_file(False), {"it.pth": bytes_mutation}, _load_weights),
    Reader("training checkpoint", _training, {"checkpoint.pth": bytes_mutation}, _resume),
    Reader(
        "images",
        _pictures,
        {f"data/a/x.{ending}": header_mutation for ending in ENDINGS},
        _load_images,
    ),
    Reader("zip of images", _image_zip, {"data.zip": zip_mutation(bytes_mutation)}, _load_images),
    Reader("configuration", _config, {"run.toml": toml_mutation}, _read_config),
    Reader("recipe", _recipe, {"recipe.toml": toml_mutation}, _read_recipe),
    Reader(
        "run folder",
        _run_folder,
        {"run.json": json_mutation, "logits.npz": _npz, "devices/one.json": json_mutation},
        _report,
    ),
    Reader(
        "caches",
        _caches,
        {
            "stages.json": json_mutation,
            "weights/edgenext_xx_small.sha256.json": json_mutation,
        },
        _read_caches,
    ),
    Reader("device registry", _registry, {"devices.json": json_mutation}, _read_registry),
    Reader(
        "results of a runner",
        _device_results,
        {
            "results.jsonl": json_mutation,
            "sensors.jsonl": json_mutation,
            f"logits-{SHA}.f32": bytes_mutation,
        },
        _device_report,
    ),
    Reader(
        "bundle",
        _bundle,
        {
            "results/results.jsonl": json_mutation,
            "results/job.json": json_mutation,
            "results/logits": bytes_mutation,
        },
        _import_bundle,
        _seal_bundle,
    ),
    Reader(
        "vendors' tools",
        _tool_outputs,
        {
            "passed_8.4.txt": text_mutation,
            "outputs.json": text_mutation,
            "times.json": json_mutation,
            "cpu.txt": text_mutation,
            "two_delegates.txt": text_mutation,
            "output.raw": bytes_mutation,
            "script.txt": text_mutation,
        },
        _read_tools,
    ),
    Reader(
        "probe", _probe, {"jetson.txt": text_mutation, "android.txt": text_mutation}, _read_probe
    ),
    Reader(
        "answers of a device",
        _answers,
        dict.fromkeys(("hello", "owner", "need", "follow", "size", "piece"), text_mutation),
        _link,
    ),
    Reader(
        "ONNX in its runtime", _tiny, {"it.onnx": _onnx}, _run, seal_artifact, 0.01, "process", 60
    ),
    Reader(
        "ONNX to quantize",
        _tiny,
        {"it.onnx": _onnx},
        _use_graph,
        seal_artifact,
        0.01,
        "process",
        60,
    ),
    Reader(
        "Core ML package",
        _package,
        {
            "it.mlpackage/Manifest.json": json_mutation,
            "it.mlpackage/Data/com.apple.CoreML/model.mlmodel": _mlmodel,
            "it.mlpackage/Data/com.apple.CoreML/weights/weight.bin": bytes_mutation,
        },
        _run,
        seal_artifact,
        0.1,
        "converter",
    ),
    Reader(
        "TFLite file",
        _exported("tflite"),
        {"edgenext_xx_small-32-fp32.tflite": bytes_mutation},
        _run,
        seal_artifact,
        0.01,
        "converter",
        60,
    ),
    Reader(
        "OpenVINO IR",
        _exported("openvino"),
        {
            "edgenext_xx_small-32-fp32.xml": text_mutation,
            "edgenext_xx_small-32-fp32.bin": bytes_mutation,
        },
        _run,
        seal_artifact,
        0.01,
        "converter",
        60,
    ),
    Reader(
        "ExecuTorch program",
        _exported("executorch"),
        {"edgenext_xx_small-32-fp32.pte": bytes_mutation},
        _run,
        seal_artifact,
        0.005,
        "converter",
        60,
    ),
)


def inputs_of(reader: Reader, total: int, readers: tuple[Reader, ...]) -> int:
    """How many of a campaign's inputs a reader gets; one at least."""
    return max(1, math.ceil(total * reader.share / sum(r.share for r in readers)))
