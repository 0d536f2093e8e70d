"""Core ML packages, run by Core ML on macOS and elsewhere by an interpreter of their program."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from edgenext.errors import ArtifactError, RuntimeFailedError
from edgenext.formats.coreml.program import MilProgram, preload
from edgenext.formats.session import ArtifactSession, Inspection, Logits, Tensor, log, one_line
from edgenext.schema import LOGITS, Evidence, Manifest, TensorSpec
from edgenext.system.threads import torch_threads

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact

__all__ = ["ISOLATED", "CoreMLSession", "inspect", "open_session", "preload"]

ISOLATED = False
"""The interpreter is Python: a file cannot crash it."""


class CoreMLSession(ArtifactSession):
    """A Core ML artifact, loaded into Core ML on macOS and into the interpreter elsewhere.

    The logits of a classifier are the input of its softmax; without one, and always on macOS, they
    are the logarithms of its probabilities. Their order is that of the manifest's classes.
    """

    def __init__(self, package: Path, manifest: Manifest, threads: int) -> None:
        super().__init__(manifest)
        self._threads = threads or os.cpu_count() or 1
        self._program = MilProgram(package)
        self._order = class_order(self._program, manifest)
        if self._order is None:
            require_outputs(self._program, manifest)
        self._model = device_model(package) if sys.platform == "darwin" else None
        self.runtime = "coreml" if self._model else "coreml-interpreter"
        self.evidence: Evidence = "device" if self._model else "emulated"

    def run(self, prepared: NDArray[Any]) -> list[Tensor]:
        """Every output of one prepared batch."""
        if self._model:
            return self._predict(self._model, prepared)
        if self._order is not None:
            return [self._classified(prepared, self._order)]
        values = self._run(prepared)
        results = [values[output.name].astype(np.float32) for output in self.manifest.outputs]
        return results if self.manifest.features else [results[0].reshape(len(prepared), -1)]

    def _classified(self, prepared: NDArray[Any], order: list[int]) -> Logits:
        """Logits of a classifier, in the order of the manifest's classes."""
        name, is_probability = self._program.classifier_logits()
        values = self._run(prepared, also=(name,))[name].astype(np.float32)
        values = values.reshape(len(prepared), -1)
        return (log(values) if is_probability else values)[:, order]

    def trace(self, prepared: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Every float tensor that the interpreter computes from one prepared batch, by name."""
        return {
            name: value.astype(np.float32)
            for name, value in self._run(prepared, trace=True).items()
            if value.dtype.kind == "f" and name not in self._program.inputs
        }

    def _run(self, prepared: NDArray[Any], **options: Any) -> dict[str, NDArray[Any]]:
        with torch_threads(self._threads):
            return self._program.run({self.manifest.input.name: prepared}, **options)

    def _predict(self, model: Any, prepared: NDArray[Any]) -> list[Tensor]:
        """Every output by Core ML, which takes image inputs one at a time, as Pillow images."""
        name = self.manifest.input.name
        feeds: list[Any] = [prepared]
        if name in self._program.images:
            feeds = [Image.fromarray(image) for image in prepared]
        try:
            results = [model.predict({name: feed}) for feed in feeds]
        except Exception as e:  # coremltools raises Core ML's errors as plain ones
            raise RuntimeFailedError(
                f"Core ML cannot run {self.manifest.file}: {one_line(e)}"
            ) from e
        if self.manifest.features:
            names = [output.name for output in self.manifest.outputs]
            return [np.concatenate([np.asarray(r[n], np.float32) for r in results]) for n in names]
        if self._order is None:
            rows = [np.asarray(r[self.manifest.outputs[0].name], np.float32) for r in results]
            return [np.concatenate([row.reshape(-1, row.shape[-1]) for row in rows])]
        labels = [self._program.classes[i] for i in self._order]
        probabilities = [
            {str(label): p for label, p in value.items()}
            for result in results
            for value in [next(v for v in result.values() if isinstance(v, dict))]
        ]
        values = np.asarray([[row[label] for label in labels] for row in probabilities], np.float32)
        return [log(values)]


def class_order(program: MilProgram, manifest: Manifest) -> list[int] | None:
    """The position of each class of the manifest in the classifier; None for other programs.

    Raises:
        ArtifactError: the classifier has other labels.
    """
    classes = program.classes
    if not classes:
        return None
    labels = manifest.shown_names or classes
    if labels == classes:
        return list(range(len(classes)))
    positions = {label: i for i, label in enumerate(classes)}
    if len(positions) < len(classes) or sorted(labels) != sorted(classes):
        raise ArtifactError(f"{program.name} has other labels than its manifest")
    return [positions[label] for label in labels]


def require_outputs(program: MilProgram, manifest: Manifest) -> None:
    """Refuse a program that is not a classifier and lacks an output of its manifest.

    Raises:
        ArtifactError: the first such output.
    """
    for output in manifest.outputs:
        if output.name not in program.outputs:
            raise ArtifactError(f"{program.name} has no output {output.name}, its manifest has one")


def device_model(package: Path) -> Any:
    """A package loaded into Core ML, with all of the device's compute units.

    Raises:
        RuntimeFailedError: Core ML cannot load the package.
    """
    try:
        return preload().models.MLModel(str(package))
    except Exception as e:  # coremltools raises Core ML's errors as plain ones
        raise RuntimeFailedError(f"Core ML cannot load {package.name}: {one_line(e)}") from e


def inspect(package: Path) -> Inspection:
    """The input, output and operators of a package.

    Raises:
        ArtifactError: it is not a complete package of an ML program.
        MissingDependencyError: coremltools is not installed.
    """
    program = MilProgram(package)
    ((name, (shape, dtype)),) = program.inputs.items()
    if name in program.images:
        rows, colours, height, width = shape
        source = TensorSpec(name=name, shape=(rows, height, width, colours), dtype="uint8")
    else:
        half = dtype == torch.float16
        source = TensorSpec(name=name, shape=shape, dtype="float16" if half else "float32")
    outputs: tuple[TensorSpec, ...]
    if len(program.outputs) > 1 and not program.classes:
        outputs = tuple(
            TensorSpec(name=name, shape=size, dtype="float32")
            for name, size in zip(program.outputs, program.output_shapes, strict=True)
        )
    else:
        outputs = (TensorSpec(name=LOGITS, shape=(shape[0], -1), dtype="float32"),)
    return Inspection(source, outputs, program.operators())


def open_session(artifact: Artifact, threads: int) -> CoreMLSession:
    """Load a Core ML artifact, which is a folder.

    Raises:
        ArtifactError: it is not a complete package of an ML program.
        MissingDependencyError: coremltools is not installed.
        RuntimeFailedError: it cannot be run.
    """
    return CoreMLSession(artifact.path, artifact.manifest, threads)
