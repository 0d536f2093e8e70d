"""Runs whose images and files are there: for what a report reads beside its figures."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from report_runs import FOLDED, INT8, PLAIN, measured, save, sha

from edgenext.report.predictions import IMAGES
from edgenext.schema import (
    Clipping,
    EvalTransform,
    EvaluatedImages,
    Manifest,
    RunSummary,
    TensorSpec,
)

CLASSES = tuple(f"class {chr(97 + i)}" for i in range(20))
TRANSFORM = EvalTransform(size=32)
CLIPPING = {
    f"/stages.{i}/out": Clipping(
        site=f"stages.{i}.pwconv1", low=-4.0, high=4.0, least=-5.0, most=3.0, share=0.001 * i
    )
    for i in range(14)
}


def write_images(folder: Path, labels: NDArray[np.int64], wanted: set[int]) -> EvaluatedImages:
    """A PNG for each wanted image; the record names all of them."""
    names, hashes = [], []
    for i, label in enumerate(labels.tolist()):
        name = f"val/{CLASSES[label]}/{i}.png"
        names.append(name)
        hashes.append("0" * 16)
        if i in wanted:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(i).integers(0, 256, (40, 60, 3), np.uint8)
            Image.fromarray(pixels).save(path)
            hashes[i] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return EvaluatedImages(
        names=tuple(names), hashes=tuple(hashes), classes=CLASSES, transform=TRANSFORM
    )


def manifest_of(name: str, classes: tuple[str, ...] = CLASSES) -> Manifest:
    return Manifest(
        file=f"{name}.onnx",
        format="onnx",
        scheme="fp32",
        form="convT",
        target="cpu-onnxruntime",
        arch="edgenext_xx_small",
        num_classes=len(classes),
        labels=classes,
        eval=TRANSFORM,
        input=TensorSpec(name="input", shape=(1, 3, 32, 32), dtype="float32"),
        outputs=(TensorSpec(name="logits", shape=(1, len(classes)), dtype="float32"),),
        sha256=sha(name),
        size_bytes=1_655_021,
        source={"weights": "net.safetensors", "sha256": sha("weights")},
        tools={},
    )


def full_run(folder: Path, **unusual: object) -> tuple[Path, RunSummary]:
    """A run beside its images, with names of files as a run records them."""
    run, arrays = measured(stages={"stem": 38.2, "stage1": 35.1, "stage2": 32.0}, **unusual)
    data = run.compare.data
    assert data
    changed = np.flatnonzero(arrays[PLAIN].argmax(1) != arrays[INT8].argmax(1))
    images = write_images(folder / "photos", arrays["labels"], set(changed.tolist()))
    run = run.model_copy(
        update={
            "artifacts": tuple(
                a.model_copy(
                    update={
                        "artifact": f"artifacts/{Path(a.artifact).name}",
                        "manifest": f"artifacts/{Path(a.manifest).name}",
                    }
                )
                for a in run.artifacts
            ),
            "compare": run.compare.model_copy(
                update={"data": data.model_copy(update={"data": "photos"})}
            ),
            "clipping": CLIPPING,
        }
    )
    run_dir = save(folder / "run", run, arrays)
    (run_dir / IMAGES).write_text(images.model_dump_json(), encoding="utf-8")
    (run_dir / "artifacts").mkdir()
    for name in (PLAIN, FOLDED, INT8):
        path = run_dir / "artifacts" / f"{name}.onnx"
        path.write_bytes(name.encode())  # which has the hash that `sha` gives
        path.with_name(f"{path.name}.json").write_text(manifest_of(name).model_dump_json())
    return run_dir, run
