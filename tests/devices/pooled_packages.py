"""Small Core ML packages of three operators, and a runner of bundles in Python."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgenext.formats.artifact import (
    Artifact,
    content_sha256,
    content_size,
    manifest_path,
    open_artifact,
)
from edgenext.formats.coreml import program as mil_program
from edgenext.formats.runtimes import open_session
from edgenext.formats.session import Images, logits
from edgenext.schema import EvalTransform, Manifest, TensorSpec

SIDE, CLASSES = 8, 5


def core_package(folder: Path, name: str, seed: int) -> Artifact:
    """A package whose logits are a linear function of the channels' means, with its manifest."""
    with mil_program.warnings_hidden():
        ct = pytest.importorskip("coremltools", reason="coremltools is not installed")
        mil_program.preload()
        from coremltools.converters.mil import Builder as mb  # noqa: N813 # as coremltools has it

        weight = np.random.default_rng(seed).normal(size=(CLASSES, 3)).astype(np.float32)

        @mb.program(input_specs=[mb.TensorSpec((1, 3, SIDE, SIDE))], opset_version=ct.target.iOS18)
        def program(x: Any) -> Any:
            means = mb.reduce_mean(x=x, axes=[2, 3], keep_dims=False)
            return mb.linear(x=means, weight=weight, name="logits")

        model = ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS18,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        )
        path = folder / f"{name}.mlpackage"
        model.save(str(path))
    manifest = Manifest(
        file=path.name,
        format="coreml",
        scheme="fp32",
        form="ane",
        target="iphone",
        arch="edgenext_xx_small",
        num_classes=CLASSES,
        eval=EvalTransform(size=SIDE),
        input=TensorSpec(name="x", shape=(1, 3, SIDE, SIDE), dtype="float32"),
        outputs=(TensorSpec(name="logits", shape=(1, CLASSES), dtype="float32"),),
        sha256=content_sha256(path),
        size_bytes=content_size(path),
        source={},
        tools={},
    )
    manifest_path(path).write_text(manifest.model_dump_json())
    return open_artifact(path)


def some_images(n: int) -> Images:
    return np.random.default_rng(n).integers(0, 256, (n, SIDE, SIDE, 3), np.uint8)


def run_bundle(bundle: Path) -> Path:
    """Run a bundle's job as the Swift runner does; the folder of its results."""
    job = json.loads((bundle / "job.json").read_text())
    folder = bundle / "results"
    folder.mkdir()
    (folder / "job.json").write_bytes((bundle / "job.json").read_bytes())
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in _events(bundle, folder, job))
    last = {"event": "done", "sha256": hashlib.sha256(lines).hexdigest()}
    (folder / "results.jsonl").write_bytes(lines + json.dumps(last).encode() + b"\n")
    return folder


def _events(bundle: Path, folder: Path, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield start(job["job"])
    hashes = [a["sha256"] for a in job["artifacts"]]
    for sha256 in hashes:
        yield ready(sha256)
    for number in range(job["rounds"]):
        for sha256 in hashes:
            yield {"event": "round", "artifact": sha256, "round": number, "samples_ms": [1.0, 1.1]}
        yield {"event": "state", "thermal": 0, "battery": 80.0}
    shape = job["images"]["shape"]
    pixels = np.frombuffer((bundle / job["images"]["file"]).read_bytes(), np.uint8).reshape(shape)
    for job_artifact in job["artifacts"]:
        sha256 = job_artifact["sha256"]
        artifact = open_artifact(bundle / job_artifact["file"])
        rows = np.concatenate(list(logits(open_session(artifact, 1), pixels)))
        data = rows.astype("<f4").tobytes()
        (folder / f"logits-{sha256}.f32").write_bytes(data)
        yield {
            "event": "logits",
            "artifact": sha256,
            "done": shape[0],
            "total": shape[0],
            "sha256": hashlib.sha256(data).hexdigest(),
        }


def start(job: str) -> dict[str, Any]:
    machine = {"cpu": "A17", "isa": [], "cores": 6, "memory_gb": 8, "os": "iOS 18", "python": ""}
    return {
        "event": "start",
        "protocol": 1,
        "job": job,
        "environment": machine | {"packages": {"coreml": "1"}},
        "facts": {"kind": "iphone", "model": "iPhone16,1"},
    }


def ready(sha256: str) -> dict[str, Any]:
    warm = {"runtime": "coreml", "batch": 1, "burst": 2, "cpus": [], "load_ms": 9.5}
    return {
        "event": "ready",
        "artifact": sha256,
        "ready": warm | {"first_ms": 2, "warmup": 10, "settled": True},
        "unit": "ane",
        "units": {"ane": {"linear": 1}, "cpu": {"reduce_mean": 1}},
        "partitions": None,
    }
