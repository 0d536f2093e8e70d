"""The content of a package: deployment files, what programs and people need beside them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from edgenext.errors import UsageError
from edgenext.formats.artifact import Artifact
from edgenext.package.archive import EXPECTED
from edgenext.package.card import Card, pretrained_cfg
from edgenext.package.results import Accuracy
from edgenext.package.samples import (
    WEB_RUNTIME,
    license_text,
    python_name,
    write_samples,
)
from edgenext.report.use import preprocessing_words
from edgenext.schema import ExpectedAnswers, Preprocessing
from edgenext.system.environments import interpreter
from edgenext.system.files import write_text
from edgenext.system.reading import readable

EXAMPLE, EXAMPLE_PPM = "example.png", "example.ppm"
LABELS = "labels.txt"
PREPROCESSING = "preprocessing.json"
CARD, LICENSE = "README.md", "LICENSE"
OWN_NAMES = {
    *(EXAMPLE, EXAMPLE_PPM, LABELS, PREPROCESSING, CARD, LICENSE, EXPECTED),
    *("SHA256SUMS", "web", "preprocess.mjs"),
}
"""Names that no deployment file may have."""
MAX_SIDE = 1024
"""The longest side of the example, in pixels: a photograph as PNG would take tens of megabytes."""


def require_alike(artifacts: Sequence[Artifact]) -> None:
    """Refuse files that cannot share labels, preprocessing and samples.

    Raises:
        UsageError: a fixed batch above one, another network or transform, or an unusable name.
    """
    if not artifacts:
        raise UsageError("no file to package", "Name files that `export` or `quantize` made")
    first = artifacts[0]
    names: set[str] = set()
    for artifact in artifacts:
        m, name = artifact.manifest, artifact.path.name
        if m.input.shape[0] > 1:
            raise UsageError(
                f"{name} takes {m.input.shape[0]} images a call, samples give it one",
                "Export it with --batch 1 or --batch dynamic",
            )
        if re.search(r"[\\:\x00-\x1f]", name):
            raise UsageError(
                f"{readable(name)!r} cannot be the name of a file on every system",
                "Rename the file, and its manifest with it",
            )
        for what in ("arch", "eval", "num_classes", "labels", "class_names"):
            if getattr(m, what) != getattr(first.manifest, what):
                raise UsageError(
                    f"{name} and {first.path.name} differ in {what}",
                    "Package files of one network, with one preprocessing",
                )
        taken = {path.name.lower() for path in artifact.files} & names
        if taken or name.lower() in {own.lower() for own in OWN_NAMES}:
            raise UsageError(f"{name} is a name that the package has already", "Rename the file")
        names |= {path.name.lower() for path in artifact.files}


def write_example(image: Image.Image, folder: Path) -> Path:
    """Write the example image, without metadata and not larger than `MAX_SIDE`."""
    example = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())
    example.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BICUBIC)
    example.save(folder / EXAMPLE)
    return folder / EXAMPLE


def write_content(
    folder: Path,
    artifacts: Sequence[Artifact],
    expected: ExpectedAnswers,
    results: Mapping[str, Accuracy],
) -> tuple[list[str], list[str]]:
    """Write everything else beside the deployment files and the example.

    Args:
        folder: of the package.
        artifacts: in the folder; see `require_alike`.
        expected: the best classes of the example.
        results: measured accuracies, by sha256.

    Returns:
        The samples, and what is missing in the package.
    """
    shared = artifacts[0].manifest
    names = shared.shown_names or tuple(map(str, range(shared.num_classes)))
    write_text(folder / LABELS, "".join(f"{' '.join(name.split())}\n" for name in names))
    write_text(folder / EXPECTED, expected.model_dump_json(indent=2) + "\n")
    write_text(folder / PREPROCESSING, _preprocessing(artifacts).model_dump_json(indent=2) + "\n")
    samples = write_samples(folder, artifacts)
    notes = []
    if not shared.shown_names:
        notes.append(
            f"the classes have no names: {LABELS} has their numbers; "
            "export with --labels to name them"
        )
    web = False
    if any(sample.file.startswith("web/") for sample in samples):
        web = _copy_web_runtime(folder / "web")
        if not web:
            notes.append("onnxruntime-web is not in web/: edgenext env web installs it")
    if any(sample.file.endswith(".cpp") for sample in samples):
        with Image.open(folder / EXAMPLE) as example:
            example.save(folder / EXAMPLE_PPM)
    python = [python_name(artifact, artifacts[0]) for artifact in artifacts]
    python = list(dict.fromkeys(python))
    card = Card(artifacts, samples, expected, results, python, web)
    write_text(folder / CARD, card.text())
    write_text(folder / LICENSE, license_text())
    return [*python, *(sample.file for sample in samples)], notes


def _preprocessing(artifacts: Sequence[Artifact]) -> Preprocessing:
    m = artifacts[0].manifest
    inputs = {artifact.path.name: artifact.manifest.input for artifact in artifacts}
    return Preprocessing(
        words={name: preprocessing_words(m.eval, tensor) for name, tensor in inputs.items()},
        short=int(m.eval.size / m.eval.crop_pct),
        eval=m.eval,
        inputs=inputs,
        pretrained_cfg=pretrained_cfg(m),
    )


def _copy_web_runtime(folder: Path) -> bool:
    """Copy onnxruntime-web beside the page; False if it is not installed."""
    modules = interpreter("web")
    if modules is None:
        return False
    for name in WEB_RUNTIME:
        shutil.copyfile(modules / "onnxruntime-web" / "dist" / name, folder / name)
    return True
