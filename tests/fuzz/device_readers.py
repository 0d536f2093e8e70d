"""Answers and files of devices: specimens, and what the package does with them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = Path(__file__).parents[1] / "devices/samples"

# --- devices -----------------------------------------------------------------------------------


def start_event(job: str) -> dict[str, Any]:
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


def events(rounds: int = 3) -> list[dict[str, Any]]:
    timed = [
        {"event": "round", "artifact": SHA, "round": i, "at_s": i / 2, "samples_ms": [1.0, 2.0]}
        for i in range(rounds)
    ]
    return [
        start_event("0" * 16),
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


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def device_results(folder: Path) -> None:
    (folder / "results.jsonl").write_text(jsonl(events()))
    line = (SAMPLES / "tegrastats/orin_nano_jetpack72.txt").read_text().splitlines()[0]
    sensors = [{"t": t, "during": d, "line": line} for t, d in ((1, "idle"), (2, f"load {SHA}"))]
    (folder / "sensors.jsonl").write_text(jsonl(sensors))
    np.ones((2, 3), "<f4").tofile(folder / f"logits-{SHA}.f32")


def device_report(folder: Path) -> None:
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


def post_results(folder: Path) -> None:
    """What becomes of the same files where a page posts them: all is taken, or refused."""
    from contextlib import suppress

    from edgenext.devices.javascript.inbox import Expected, Inbox, RefusedPostError
    from edgenext.devices.job import DeviceJob

    zeros, job = (0.0, 0.0, 0.0), "0" * 16
    inbox = Inbox(
        DeviceJob(job=job, artifacts=(), mean=zeros, std=zeros), Expected(2, {SHA: 3}), folder
    )
    session = inbox.claim()
    logits = (folder / f"logits-{SHA}.f32").read_bytes()
    with suppress(RefusedPostError):
        inbox.post_events(session, (folder / "results.jsonl").read_bytes())
    with suppress(RefusedPostError):
        inbox.post_logits(session, SHA, hashlib.sha256(logits).hexdigest(), logits)
    inbox.record()


def write_bundle(folder: Path) -> None:
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
    text = jsonl(events()).replace(SHA, artifact.manifest.sha256)
    (results / "results.jsonl").write_text(text)
    seal_bundle(folder)


def seal_bundle(folder: Path) -> None:
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


def import_bundle(folder: Path) -> None:
    from edgenext.devices.bundles.results import read_results
    from edgenext.formats.artifact import open_artifact

    read_results(folder, [open_artifact(folder / "it.onnx")])


def tool_outputs(folder: Path) -> None:
    shutil.copy(SAMPLES / "trtexec/passed_8.4.txt", folder / "passed_8.4.txt")
    logits = '[ { "name" : "logits", "dimensions" : "1x3", "values" : [ 1, 2.5, -3e-2 ] },\n'
    outputs = (SAMPLES / "trtexec/outputs.json").read_text().strip().removeprefix("[")
    (folder / "outputs.json").write_text(logits + outputs)
    times = [{"startComputeMs": 600.0 * i, "computeMs": 1.5, "latencyMs": 2} for i in range(5)]
    (folder / "times.json").write_text(json.dumps(times))
    for name in ("cpu.txt", "gpu_and_nnapi.txt"):
        shutil.copy(SAMPLES / "benchmark_model" / name, folder / name)
    (folder / "output.raw").write_bytes(np.ones(3, "<f4").tobytes())
    (folder / "script.txt").write_text(
        f"== n begin\n== n prepare {SHA}\nok\n== n end {SHA} 3\n== n round {SHA} 0\nx\n"
        f"== n end {SHA} 4\n== n logits {SHA} 10\n== n done\n"
    )


class AnyTool:
    """Of a script's steps only their words are read here."""

    def read_round(self, *_: object) -> Any:
        from edgenext.devices.runners.tools import ToolRound

        return ToolRound((1.0,), "x")


def read_tools(folder: Path) -> None:
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
        lambda: benchmark.read_round(file, text("gpu_and_nnapi.txt")),
        lambda: benchmark.read_logits(file, (folder / "output.raw").read_bytes()),
        lambda: [
            vendor_tool._read_step(step, scripted, AnyTool(), rounds, [], quiet)  # type: ignore[arg-type]
            for step in vendor_tool.read_steps(iter(text("script.txt").split("\n")), "n")
        ],
    )
    call_each(calls)


def call_each(calls: tuple[Callable[[], object], ...]) -> None:
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


def write_probe(folder: Path) -> None:
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


def read_probe(folder: Path) -> None:
    from edgenext.devices.probes.probe import parse_facts, parse_sections

    call_each(
        tuple(
            lambda name=name: parse_facts(
                parse_sections((folder / name).read_bytes().decode(errors="replace"))
            ).model_dump_json()
            for name in ("jetson.txt", "android.txt")
        )
    )


def write_answers(folder: Path) -> None:
    """What a device answers to each verb of its agent, one file a verb."""
    answers = {
        "hello": "/home/nano/.edgenext\n",
        "owner": "\n",
        "lock": "",
        "need": "100000 0\n",
        "needed": "have\n",
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
        self._joined = False

    def call(self, command: str, _stdin: bytes = b"", timeout_s: float = 60.0) -> Any:  # noqa: ARG002 - of the protocol
        import shlex

        from edgenext.devices.transport import Reply

        words = shlex.split(command)
        if words[:2] == ["sh", "-s"] and len(words) > 4:
            nonce, verb = words[2], words[4]
            self._joined |= verb == "join"
            verb = "needed" if verb == "need" and self._joined else verb
            path = self._folder / verb
            body = path.read_bytes() if path.is_file() else b""
            return Reply(0, body + f"\nedgenext {nonce} ok\n".encode(), "")
        name = "size" if command.startswith("wc") else "piece"
        return Reply(0, (self._folder / name).read_bytes(), "")

    def close(self) -> None: ...


def use_link(folder: Path) -> None:
    """Push, run and pull with a device that answers anything."""
    from edgenext.devices.link import DeviceLink, DeviceTask

    def link() -> DeviceLink:
        return DeviceLink(HostileChannel(folder), patience_s=0.0)

    call_each(
        (
            lambda: link().push(folder / "piece"),
            lambda: list(link().run(DeviceTask("job", ("x",), "out", limit_s=0.5))),
            lambda: link().pull("job", "out", folder / "pulled"),
            lambda: link().text("job", "out"),
        )
    )
