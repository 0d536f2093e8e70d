"""What a command is about: an artifact's file, or a model with its weights."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.data import digits
from edgenext.data.files import ending
from edgenext.data.sources import EXTENSIONS
from edgenext.errors import ArtifactError, EdgenextError, UsageError
from edgenext.formats.artifact import Artifact, is_artifact, open_artifact
from edgenext.formats.isolated_session import open_isolated
from edgenext.formats.session import Session
from edgenext.options import ExportOptions, ModelOptions, with_exif
from edgenext.report.load import SUMMARY
from edgenext.schema import Calibration, Division, EvalTransform, Exif
from edgenext.system.reading import similar_files

if TYPE_CHECKING:
    from edgenext.models.checkpoint import Checkpoint

WEIGHT_ENDINGS = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class Subject:
    """A network or artifact that can be evaluated: exactly one of the two is set."""

    artifact: Artifact | None = None
    checkpoint: Checkpoint | None = None

    @property
    def is_backbone(self) -> bool:
        """Whether it gives feature maps instead of logits."""
        return self.artifact.manifest.is_backbone if self.artifact else self._network.backbone

    def require_logits(self) -> None:
        """Refuse a backbone where classes are needed.

        Raises:
            ArtifactError: it has no logits.
        """
        if self.is_backbone:
            name = self.artifact.path if self.artifact else self.name
            raise ArtifactError(
                f"{name} is a backbone: it has no logits to score",
                "Export the classifier, without --features",
            )

    def require_sites(self, command: str) -> None:
        """Refuse a file that others made where the sites of a network are needed.

        Raises:
            ArtifactError: it was adopted, or quantized from such a file.
        """
        if self.artifact and self.artifact.manifest.adopted:
            raise ArtifactError(
                f"{self.artifact.path} is not of this package: {command} needs the sites of an "
                "EdgeNeXt, which it does not have",
                "Use eval, compare, bench, profile or predict",
            )

    @property
    def name(self) -> str:
        """How results call it."""
        return self.artifact.name if self.artifact else self._network.name

    @property
    def sha256(self) -> str:
        """Of the artifact's file, or of the weights."""
        return self.artifact.manifest.sha256 if self.artifact else self._network.sha256

    @property
    def scheme(self) -> str:
        """The quantization scheme, `fp32` for a network."""
        return self.artifact.manifest.scheme if self.artifact else "fp32"

    @property
    def transform(self) -> EvalTransform:
        """How images become inputs."""
        return self.artifact.manifest.eval if self.artifact else self._network.eval

    @property
    def classes(self) -> tuple[int, tuple[str, ...] | None]:
        """Class count and labels."""
        about = self.artifact.manifest if self.artifact else self._network
        return about.num_classes, about.labels

    @property
    def shown_names(self) -> tuple[str, ...] | None:
        """What people call the classes; their labels where there are no other names."""
        if self.artifact:
            return self.artifact.manifest.shown_names
        return self._network.class_names or self._network.labels

    @property
    def division(self) -> Division | None:
        """How its training's or calibration's data was divided, if that had no split folders."""
        if self.artifact is None:
            return self._network.division
        manifest = self.artifact.manifest
        if manifest.division or manifest.calibration is None:
            return manifest.division
        return manifest.calibration.subset.division

    @property
    def fitted_on(self) -> tuple[Calibration, ...]:
        """The sets of images that its ranges were measured or trained on."""
        return self.artifact.manifest.fitted_on if self.artifact else ()

    def with_exif(self, exif: Exif | None) -> Subject:
        """An artifact whose images are turned as their EXIF orientation says, or not.

        Raises:
            UsageError: neither `ignore` nor `apply`.
        """
        if self.artifact is None or exif is None:
            return self
        update = {"eval": with_exif(self.transform, exif)}
        manifest = self.artifact.manifest.model_copy(update=update)
        return Subject(artifact=replace(self.artifact, manifest=manifest))

    @property
    def _network(self) -> Checkpoint:
        if self.checkpoint is None:
            raise ValueError("a subject is an artifact or a checkpoint")
        return self.checkpoint

    def session(self, threads: int | None = None, target: str = "") -> Session:
        """Loaded and ready; all cores unless told.

        Of an artifact it is the runtime of `target`, where one is given, in a process of its own
        unless this process wrote the file.

        Raises:
            RuntimeFailedError: the runtime refuses the file, or crashed.
        """
        if self.artifact is None:
            from edgenext.formats.pytorch.session import TorchSession

            network = self._network.network(features_only=self.is_backbone)
            return TorchSession(network, self._network.eval)
        return open_isolated(self.artifact, threads or os.cpu_count() or 1, target)


def open_subject(name: str) -> Subject | None:
    """The artifact at a path; None where it may be the name of a model.

    Raises:
        ArtifactError: a path that does not exist or is not an artifact.
    """
    path = Path(name)
    if is_artifact(path):
        return Subject(artifact=open_artifact(path))
    _require_no_other(name, ArtifactError)
    if path.is_file():
        raise ArtifactError(
            f"{name} is not an artifact", "Weights are given as edgenext_… --weights FILE"
        )
    if path.suffix or os.sep in name or path.name in ("", ".."):
        raise ArtifactError(f"no artifact at {name}", similar_files(path))
    return None


def of_kind(model_options: ModelOptions, export_options: ExportOptions) -> ModelOptions:
    """Model options that also take weights without a head, where a backbone is exported."""
    return replace(model_options, backbone=export_options.features_only)


def load(model: str | None, options: ModelOptions) -> Checkpoint:
    """The checkpoint that a model's name and options mean.

    Raises:
        UsageError: an unknown model, or a file in place of its name.
        CheckpointError: weights that do not fit.
    """
    from edgenext.models.checkpoint import load_checkpoint

    if model is not None:
        _require_no_other(model, UsageError)
        if Path(model).is_file():
            is_made = is_artifact(Path(model))
            remedy = "It is made of weights: --weights FILE" if is_made else _weights_remedy(model)
            raise UsageError(f"{model} is a file, not a model's name", remedy)
    return load_checkpoint(model, **vars(options))


def _weights_remedy(file: str) -> str:
    """What to do with a file in place of a model's name."""
    is_weights = Path(file).suffix in WEIGHT_ENDINGS
    return f"Use --weights {file}" if is_weights else "Name a model, or give --weights FILE"


def _require_no_other(name: str, error: type[EdgenextError]) -> None:
    """Refuse what is neither a model nor an artifact, but was meant for another argument.

    Raises:
        EdgenextError: `error`, for a folder, an image, or the embedded digits.
    """
    path = Path(name)
    if name == digits.NAME or ending(path.name) in EXTENSIONS:
        raise error(
            f"{name} is neither a model nor an artifact",
            "Images are named after it, or with --data",
        )
    if path.is_dir() and not is_artifact(path):
        remedy = "Images are given with --data or --calib"
        if (path / SUMMARY).is_file():
            remedy = f"Name a file in {path / 'artifacts'}"
        raise error(f"{name} is a folder, neither a model nor an artifact", remedy)
