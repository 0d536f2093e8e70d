"""Accuracy of every scheme and engine on real images, and fidelity of every architecture."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from inputs import MODEL, OPENVINO, STRENGTH, golden_model, train_images, val_images

from edgenext import api
from edgenext.export.deployment_graph import read_graph
from edgenext.options import (
    DEFAULT_TARGET,
    ENGINE,
    ExportOptions,
    ModelOptions,
    QuantizeOptions,
)
from edgenext.targets.scheme import CALIBRATED

SEEDS = (0, 1, 2, 3, 4)
"""Of the stressed twins."""
ORT, OWN = DEFAULT_TARGET, ENGINE
FILES = (
    QuantizeOptions("w8a8-static", ORT, OWN),
    QuantizeOptions("w8a8-static", ORT, "onnxruntime"),
    QuantizeOptions("w8a8-static", ORT, "onnxruntime-tuned"),
    QuantizeOptions("w8a8-static", ORT, "onnxruntime-folded"),
    QuantizeOptions("w8a8-dynamic", ORT, OWN),
    QuantizeOptions("w8-weight-only", ORT, OWN),
    QuantizeOptions("w8a8-static", OPENVINO, OWN),
    QuantizeOptions("w8a8-static", OPENVINO, "nncf"),
    QuantizeOptions("bf16", OPENVINO, OWN),
    QuantizeOptions("w8a8-static", ORT, OWN, gelu="relu"),
    QuantizeOptions("w8a8-static", OPENVINO, OWN, gelu="relu"),
)
"""Every quantized file that is compared."""

ON_TWINS = tuple(file for file in FILES if file.scheme == "w8a8-static" and not file.gelu)
FIDELITY_IMAGES = 500


def name_of(file: QuantizeOptions) -> str:
    """What the results call a file."""
    return ", ".join(filter(None, (file.scheme, file.target, file.engine, file.gelu)))


def is_calibrated(file: QuantizeOptions) -> bool:
    """Whether its ranges come from images."""
    return file.scheme in CALIBRATED


def accuracy(data: Path, weights: Path, folder: Path) -> list[dict[str, Any]]:
    """Top-1 and paired drops on Tiny-ImageNet, of the network and of its stressed twins."""
    val = val_images(data)
    options = ModelOptions(weights)
    plain = api.export(MODEL, options, ExportOptions(form="naive"), out=folder, data=val)
    folded = api.export(MODEL, options, out=folder, data=val)
    names, artifacts = ["fp32, folded"], [folded]
    for suffix, source in _networks(weights, folder):
        for file in FILES if not suffix else ON_TWINS:
            quantize_options = replace(
                file, calib=train_images(data) if is_calibrated(file) else ""
            )
            artifact = api.quantize(
                MODEL, quantize_options, ModelOptions(source), out=folder / (suffix or "network")
            )
            names.append(", ".join(filter(None, (name_of(file), suffix))))
            artifacts.append(artifact)
    files = [MODEL, *(str(artifact.path) for artifact in artifacts)]
    report = api.compare(str(plain.path), files, val, options)
    network, *others = (other.model_dump(mode="json") for other in report.others)
    return [
        {"name": "fp32, plain", "n": report.n, "top1": report.base.top1},
        {"name": "fp32, PyTorch", "n": report.n} | network,
        *(
            {"name": name, "n": report.n, "graph_sha256": _graph_hash(artifact)} | other
            for name, artifact, other in zip(names, artifacts, others, strict=True)
        ),
    ]


def _graph_hash(artifact: api.Artifact) -> str:
    """The sha256 of an ONNX file without what it says of its origin."""
    content = read_graph(artifact).model.SerializeToString(deterministic=True)
    return hashlib.sha256(content).hexdigest()


def _networks(weights: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    yield "", weights
    for seed in SEEDS:
        twin = folder / f"twin{seed}.safetensors"
        api.stress(MODEL, ModelOptions(weights), out=twin, seed=seed, strength=STRENGTH)
        yield f"twin {seed}", twin


def fidelity(data: Path, folder: Path) -> list[dict[str, Any]]:
    """INT8 against FP32 for all seven architectures with the golden weights of the tests."""
    from edgenext.models.zoo import arch_table

    rows = []
    for arch in arch_table():
        options = golden_model(arch, folder)
        base = api.export(arch, options, ExportOptions(form="naive"), out=folder)
        for target in ("cpu-onnxruntime", OPENVINO):
            quantize_options = QuantizeOptions(target=target, calib=train_images(data))
            artifact = api.quantize(arch, quantize_options, options, out=folder)
            row = {"arch": arch, "target": target, "n": FIDELITY_IMAGES}
            rows.append(row | _fidelity(base, artifact, data))
    return rows


def _fidelity(base: api.Artifact, other: api.Artifact, data: Path) -> dict[str, Any]:
    """Fidelity alone: golden weights were not trained, so they have no accuracy."""
    from edgenext.commands.evaluate import logits_of
    from edgenext.data import load_images
    from edgenext.formats.runtimes import open_session
    from edgenext.metrics.fidelity import fidelity as closeness

    images = load_images(
        val_images(data),
        base.manifest.eval,
        role="val",
        num_classes=200,
        limit=FIDELITY_IMAGES,
    )
    a, b = (logits_of(open_session(artifact, 2), images) for artifact in (base, other))
    return vars(closeness(a, b))
