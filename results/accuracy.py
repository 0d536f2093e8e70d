"""Accuracy of every scheme and engine on real images, and fidelity of every architecture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch

from edgenext import api
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions

MODEL = "edgenext_xx_small"
STRENGTH = 3.0
SEEDS = (0, 1, 2, 3, 4)
OPENVINO = "cpu-openvino"
FILES = (
    ("w8a8-static", "cpu-onnxruntime", "edgenext"),
    ("w8a8-static", "cpu-onnxruntime", "onnxruntime"),
    ("w8a8-dynamic", "cpu-onnxruntime", "edgenext"),
    ("w8-weight-only", "cpu-onnxruntime", "edgenext"),
    ("w8a8-static", OPENVINO, "edgenext"),
    ("w8a8-static", OPENVINO, "nncf"),
    ("bf16", OPENVINO, "edgenext"),
)
"""Scheme, target and engine of every file that is compared."""

ON_TWINS = FILES[:2] + FILES[4:6]
FIDELITY_IMAGES = 500


def accuracy(data: Path, weights: Path, folder: Path) -> list[dict[str, Any]]:
    """Top-1 and paired drops on Tiny-ImageNet, of the network and of its stressed twins."""
    val = str(data / "tiny-imagenet-val.zip")
    options = ModelOptions(weights)
    plain = api.export(MODEL, options, ExportOptions(form="naive"), out=folder, data=val)
    folded = api.export(MODEL, options, out=folder, data=val)
    names, files = ["fp32, PyTorch", "fp32, folded"], [MODEL, str(folded.path)]
    for suffix, source in _networks(weights, folder):
        for scheme, target, engine in FILES if not suffix else ON_TWINS:
            how = QuantizeOptions(scheme, target, engine)
            if scheme == "w8a8-static":
                how = QuantizeOptions(scheme, target, engine, calib=_train(data))
            into = folder / (suffix or "network")
            made = api.quantize(MODEL, how, ModelOptions(source), out=into)
            names.append(", ".join(filter(None, (scheme, target, engine, suffix))))
            files.append(str(made.path))
    report = api.compare(str(plain.path), files, val, options)
    rows = [{"name": "fp32, plain", "n": report.n, "top1": report.base.top1}]
    for name, other in zip(names, report.others, strict=True):
        rows.append({"name": name, "n": report.n} | other.model_dump(mode="json"))
    return rows


def _train(data: Path) -> Path:
    return data / "tiny-imagenet-train.zip"


def _networks(weights: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    yield "", weights
    for seed in SEEDS:
        twin = folder / f"twin{seed}.safetensors"
        api.stress(MODEL, twin, ModelOptions(weights), seed=seed, strength=STRENGTH)
        yield f"twin {seed}", twin


def fidelity(data: Path, folder: Path) -> list[dict[str, Any]]:
    """INT8 against FP32 for all seven architectures with the golden weights of the tests."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from golden import weights as golden

    from edgenext.models.zoo import arch_table

    rows = []
    for arch in arch_table():
        file = folder / f"{arch}-golden.safetensors"
        safetensors.torch.save_file(golden.state(arch), file)
        options = ModelOptions(file, size=64)
        base = api.export(arch, options, ExportOptions(form="naive"), out=folder)
        for target in ("cpu-onnxruntime", OPENVINO):
            how = QuantizeOptions(target=target, calib=_train(data))
            made = api.quantize(arch, how, options, out=folder)
            found = _compared(base.path, made.path, data)
            rows.append({"arch": arch, "target": target, "n": FIDELITY_IMAGES} | found)
    return rows


def _compared(base: Path, other: Path, data: Path) -> dict[str, Any]:
    """Fidelity alone: golden weights have no classes to be right about."""
    from edgenext.data import load_images
    from edgenext.formats.artifact import open_artifact
    from edgenext.formats.runtimes import open_session
    from edgenext.metrics.accuracy import evaluate
    from edgenext.metrics.fidelity import fidelity as compare

    artifacts = [open_artifact(path) for path in (base, other)]
    images = load_images(
        data / "tiny-imagenet-val.zip",
        artifacts[0].manifest.eval,
        role="val",
        num_classes=200,
        limit=FIDELITY_IMAGES,
    )
    a, b = (evaluate(open_session(artifact, 2), images) for artifact in artifacts)
    return vars(compare(a, b))
