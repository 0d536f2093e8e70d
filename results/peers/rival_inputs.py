"""What every tool starts from: the same checkpoint, graphs and calibration images."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from inputs import MODEL, SIZE, SMALL, STRENGTH, train_images
from numpy.typing import NDArray
from PIL import Image

from edgenext import api
from edgenext.commands.images import calibration_images, labelled_images
from edgenext.commands.subject import Subject
from edgenext.data import ImageSet
from edgenext.formats.session import normalise
from edgenext.graph.forms import deployed_arrays
from edgenext.options import DataOptions, ExportOptions, ModelOptions, QuantizeOptions
from edgenext.schema import EvalTransform
from edgenext.system.files import sha256_file

NETWORK, TWINS = "network", ("twin 0", "twin 1")
SPEED = {MODEL: "XXS, 256 px", SMALL: "S, 256 px"}
"""Networks whose latency is measured, and what their cases are called."""
CALIBRATION, VALIDATION = 128, 1000
"""Images of the training set: for ranges, and others with labels for NNCF's accuracy control."""
CALIBRATION_SPEED, VALIDATION_SPEED = 16, 64
"""Embedded digits where only speed is measured: ranges do not matter for it."""


@dataclass(frozen=True)
class Case:
    """One network with its weights, at one size. `data` is the folder of the Tiny-ImageNet zips."""

    name: str
    arch: str
    options: ModelOptions
    data: Path | None

    @property
    def trained(self) -> bool:
        """Whether its weights were trained, so that it has an accuracy."""
        return self.data is not None


@dataclass(frozen=True)
class Inputs:
    """What makers get, as paths.

    `graph` is the plain ONNX export, `graph_opset17` the same in opset 17, `folded` this package's,
    all with the input `input` of 1×3×H×W float32. `weights` is a state dict by torch, `checkpoint`
    the file that this package reads, empty for random weights; `calib` what it calibrates on.
    `samples` is the .npy of the calibration images, N×3×H×W float32, normalised; `images` a folder
    of the same, cropped, as PNG. `arrays` is the .npz of the folded network's tensors and
    `architecture` its fields, for a network that is written elsewhere. `validation` and `labels`
    are other images with their classes; of random weights, whose classes mean nothing, with the
    network's own answers.
    """

    arch: str
    num_classes: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    n: int
    graph: str
    graph_opset17: str
    folded: str
    weights: str
    checkpoint: str
    calib: str
    samples: str
    images: str
    arrays: str
    architecture: dict[str, Any]
    validation: str
    labels: str

    @property
    def record(self) -> dict[str, Any]:
        """What decides the files that are made of them: the contents of files, not their paths."""
        return {
            name: sha256_file(Path(value)) if name in HASHED else value
            for name, value in asdict(self).items()
            if name not in FOLLOWING
        }


GRAPHS = {
    "graph": ExportOptions(form="naive"),
    "graph_opset17": ExportOptions(form="naive", opset=17),
    "folded": ExportOptions(),
}
"""How the graphs of `Inputs` are exported."""
HASHED = ("graph", "graph_opset17", "folded", "weights", "samples", "validation", "labels")
"""The fields of `Inputs` that are files."""
FOLLOWING = ("checkpoint", "calib", "images", "arrays", "architecture")
"""The fields that follow from the others."""


def cases(data: Path | None, weights: Path | None, folder: Path) -> dict[str, Case]:
    """All cases by name; those with trained weights only where these are given."""
    known = {}
    if data and weights:
        known[NETWORK] = Case(NETWORK, MODEL, ModelOptions(weights), data)
        for twin in TWINS:
            path = folder / f"{twin.replace(' ', '')}.safetensors"
            if not path.is_file():
                seed = int(twin.split()[1])
                api.stress(MODEL, ModelOptions(weights), out=path, seed=seed, strength=STRENGTH)
            known[twin] = Case(twin, MODEL, ModelOptions(path), data)
    for arch, name in SPEED.items():
        known[name] = Case(name, arch, ModelOptions(random_weights=True, size=SIZE), None)
    return known


def inputs_of(case: Case, folder: Path) -> Inputs:
    """The inputs of a case, written into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    context = api.Context()
    checkpoint = context.checkpoint(case.arch, case.options)
    subject = Subject(checkpoint=checkpoint)
    transform = checkpoint.eval
    n, validation = (
        (CALIBRATION, VALIDATION) if case.trained else (CALIBRATION_SPEED, VALIDATION_SPEED)
    )
    calib = train_images(case.data) if case.data else Path("digits")
    images = calibration_images(context, subject, QuantizeOptions(calib=calib, n=n))
    paths = {name: folder / f"{name}.npy" for name in ("samples", "validation", "labels")} | {
        "weights": folder / "weights.pt",
        "images": folder / "images",
        "arrays": folder / "arrays.npz",
    }
    np.save(paths["samples"], normalise(np.asarray(images.images), transform))
    _write_pictures(images, paths["images"])
    network = checkpoint.network().eval()
    torch.save(network.state_dict(), paths["weights"])
    inputs, labels = _validation(case, context, images, transform, validation, network)
    np.save(paths["validation"], inputs)
    np.save(paths["labels"], labels)
    np.savez(paths["arrays"], **deployed_arrays(network, transform.size, transform.size))
    graphs = {
        name: _graph(case, context, options, folder / name) for name, options in GRAPHS.items()
    }
    return Inputs(
        arch=case.arch,
        num_classes=checkpoint.num_classes,
        size=transform.size,
        mean=transform.mean,
        std=transform.std,
        n=n,
        checkpoint=str(case.options.weights or ""),
        calib=str(calib),
        architecture=asdict(network.arch),
        **{name: str(path) for name, path in (paths | graphs).items()},
    )


def _graph(case: Case, context: api.Context, options: ExportOptions, folder: Path) -> Path:
    """A float graph without what this package says in it of itself, as another's export is."""
    artifact = api.export(case.arch, case.options, options, out=folder, context=context)
    model = onnx.load(artifact.path)
    del model.metadata_props[:]
    path = folder / "graph.onnx"
    onnx.save(model, path)
    return path


def _validation(
    case: Case,
    context: api.Context,
    calibration: ImageSet,
    transform: EvalTransform,
    n: int,
    network: torch.nn.Module,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images with labels, none of them calibrated on, normalised."""
    if case.data is not None:
        subject = Subject(checkpoint=context.checkpoint(case.arch, case.options))
        others = labelled_images(
            context,
            subject,
            DataOptions(train_images(case.data), n),
            "train",
            exclude=calibration.hashes,
        )
        return normalise(np.asarray(others.images), transform), others.labels
    subject = Subject(checkpoint=context.checkpoint(case.arch, case.options))
    options = QuantizeOptions(calib="digits", n=n, exclude=calibration.hashes)
    images = normalise(np.asarray(calibration_images(context, subject, options).images), transform)
    with torch.inference_mode():
        answers = [int(network(torch.from_numpy(image[None])).argmax()) for image in images]
    return images, np.array(answers, np.int64)


def _write_pictures(images: ImageSet, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for i, pixels in enumerate(np.asarray(images.images)):
        Image.fromarray(pixels).save(folder / f"{i:04}.png")
