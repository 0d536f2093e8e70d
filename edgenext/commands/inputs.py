"""What decides the files and figures of a run or search: a record for each kind of stage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from edgenext.benchmark.environment import arithmetic, environment
from edgenext.commands.config import StressStage
from edgenext.commands.quantize import QuantizeSettings
from edgenext.commands.sequence import SHARD
from edgenext.commands.subject import Subject
from edgenext.commands.timing_device import THIS_MACHINE, TimingDevice
from edgenext.commands.train import Training
from edgenext.data import ImageSet, PhotoSet
from edgenext.export.settings import ExportSettings
from edgenext.formats.artifact import Artifact
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import ENGINE, BenchOptions
from edgenext.quantize.qat import QatTraining
from edgenext.quantize.recipe import Recipe
from edgenext.report.load import DEVICES, SUMMARY
from edgenext.report.predictions import IMAGES, PREDICTIONS
from edgenext.schema import (
    Device,
    Division,
    Environment,
    EvalTransform,
    Manifest,
    Record,
    SubsetInfo,
)
from edgenext.schema.key import Inputs
from edgenext.system.files import sha256_file
from edgenext.system.versions import TRAINING, all_versions, versions, versions_of
from edgenext.train import TrainRecipe


class NetworkFacts(Record):
    """A checkpoint: every field of it but the tensors, for which its hash stands.

    `source` is a name without folders.
    """

    name: str
    arch: str
    num_classes: int
    eval: EvalTransform
    labels: tuple[str, ...] | None
    sha256: str
    source: str
    published: bool
    class_names: tuple[str, ...] | None
    division: Division | None
    backbone: bool

    @staticmethod
    def of(checkpoint: Checkpoint) -> NetworkFacts:
        """The record of a checkpoint."""
        names = [field.name for field in fields(checkpoint) if field.name != "state"]
        values = {name: getattr(checkpoint, name) for name in names}
        return NetworkFacts.model_validate(values | {"source": Path(checkpoint.source).name})


class ImageFacts(Record):
    """A set of images: hashes and labels by the hash of `info`, and how they become inputs."""

    info: SubsetInfo
    transform: EvalTransform
    classes: tuple[str, ...]

    @staticmethod
    def of(images: ImageSet | PhotoSet) -> ImageFacts:
        """The record of a set of images."""
        return ImageFacts(info=images.info, transform=images.transform, classes=images.classes)


class TrainInputs(Inputs):
    """What decides trained weights."""

    network: NetworkFacts
    recipe: TrainRecipe
    images: ImageFacts
    val: ImageFacts
    name: str

    @staticmethod
    def of(training: Training) -> TrainInputs:
        """The record of a training run."""
        return TrainInputs(
            versions=versions_of(*TRAINING),
            network=NetworkFacts.of(training.checkpoint),
            recipe=training.recipe,
            images=ImageFacts.of(training.images),
            val=ImageFacts.of(training.val),
            name=training.name,
        )


class TwinInputs(Inputs):
    """What decides the weights of a stressed twin."""

    network: NetworkFacts
    stress: StressStage

    @staticmethod
    def of(checkpoint: Checkpoint, stress: StressStage) -> TwinInputs:
        """The record of a twin."""
        network = NetworkFacts.of(checkpoint)
        return TwinInputs(versions=versions_of(*TRAINING), network=network, stress=stress)


class ExportInputs(Inputs):
    """What decides a float file and its manifest.

    `samples` is the hash of the images it is compared on.
    """

    subject: NetworkFacts
    settings: ExportSettings
    samples: str

    @staticmethod
    def of(checkpoint: Checkpoint, settings: ExportSettings, samples: ImageSet) -> ExportInputs:
        """The record of an export."""
        return ExportInputs(
            versions=_makers(settings),
            subject=NetworkFacts.of(checkpoint),
            settings=settings,
            samples=samples.info.sha256,
        )


class QuantizeInputs(Inputs):
    """What decides a quantized file and its manifest.

    `recipe` is the one that is applied, None for the float file of a search; `training` the images
    that its graph is trained on, None where it is not trained.
    """

    subject: NetworkFacts | Manifest
    settings: QuantizeSettings
    calibration: ImageFacts
    recipe: Recipe | None
    training: ImageFacts | None

    @staticmethod
    def of(
        subject: Subject,
        settings: QuantizeSettings,
        calibration: ImageSet,
        recipe: Recipe | None,
        training: QatTraining | None = None,
    ) -> QuantizeInputs:
        """The record of a quantization; paths of the settings do not count, their content does."""
        return QuantizeInputs(
            versions=_makers(settings.export),
            subject=_subject(subject),
            settings=_without_paths(settings),
            calibration=ImageFacts.of(calibration),
            recipe=recipe,
            training=ImageFacts.of(training.images) if training else None,
        )


class SiteRowInputs(Inputs):
    """What decides what quantizing a site costs; `labelled` is whether top-1 is measured too."""

    subject: NetworkFacts | Manifest
    settings: QuantizeSettings
    calibration: ImageFacts
    images: ImageFacts
    labelled: bool
    machine: Environment

    @staticmethod
    def of(
        subject: Subject,
        settings: QuantizeSettings,
        calibration: ImageSet,
        images: ImageSet,
        *,
        labelled: bool,
    ) -> SiteRowInputs:
        """The record of a sensitivity."""
        return SiteRowInputs(
            versions=_makers(settings.export),
            subject=_subject(subject),
            settings=_without_paths(settings),
            calibration=ImageFacts.of(calibration),
            images=ImageFacts.of(images),
            labelled=labelled,
            machine=arithmetic(),
        )


class EvaluateInputs(Inputs):
    """What decides scores and logits: each file with its manifest, and what computes them.

    A manifest says how images become inputs: the same bytes with another one score differently.
    """

    subjects: tuple[NetworkFacts | Manifest, ...]
    names: tuple[str, ...]
    images: ImageFacts
    machine: Environment
    keep_logits: bool

    @staticmethod
    def of(
        subjects: Sequence[Subject],
        names: Sequence[str],
        images: ImageSet,
        *,
        keep_logits: bool = False,
    ) -> EvaluateInputs:
        """The record of an evaluation.

        Args:
            subjects: models and artifacts.
            names: what results call them.
            images: that they are evaluated on.
            keep_logits: whether all logits are written too.
        """
        return EvaluateInputs(
            versions=all_versions(),
            subjects=tuple(map(_subject, subjects)),
            names=tuple(names),
            images=ImageFacts.of(images),
            machine=arithmetic(),
            keep_logits=keep_logits,
        )


class SequenceInputs(Inputs):
    """What decides the logits of a sequence of images, shard by shard, however many are used."""

    evaluation: EvaluateInputs
    seed: int
    shard: int

    @staticmethod
    def of(
        subjects: Sequence[Subject], names: Sequence[str], images: ImageSet, seed: int
    ) -> SequenceInputs:
        """The record of a sequence; see `EvaluateInputs`."""
        evaluation = EvaluateInputs.of(subjects, names, images)
        return SequenceInputs(
            versions=evaluation.versions, evaluation=evaluation, seed=seed, shard=SHARD
        )


class DecisionInputs(Inputs):
    """What decides where a sequence stops, and the figures there; `budget` is in points."""

    sequence: SequenceInputs
    budget: float
    keep_logits: bool

    @staticmethod
    def of(sequence: SequenceInputs, budget: float, *, keep_logits: bool = False) -> DecisionInputs:
        """The record of a decision; see `EvaluateInputs`."""
        return DecisionInputs(
            versions=sequence.versions,
            sequence=sequence,
            budget=budget,
            keep_logits=keep_logits,
        )


class BenchmarkInputs(Inputs):
    """What decides latencies; `device` and its `software` are those of another machine."""

    subjects: tuple[Manifest, ...]
    options: BenchOptions
    machine: Environment
    device: Device | None
    software: dict[str, str]

    @staticmethod
    def of(
        artifacts: Iterable[Artifact], options: BenchOptions, timing: TimingDevice = THIS_MACHINE
    ) -> BenchmarkInputs:
        """The record of a benchmark on this machine, or on another."""
        return BenchmarkInputs(
            versions=all_versions(),
            subjects=tuple(_described(artifact) for artifact in artifacts),
            options=options,
            machine=environment(),
            device=timing.device,
            software=timing.facts.software if timing.facts else {},
        )


class ReportInputs(Inputs):
    """What decides a run's report: the content of every file that it is written from."""

    files: dict[str, str]
    budget: float

    @staticmethod
    def of(folder: Path, budget: float) -> ReportInputs:
        """The record of the report of a run's folder; `budget` is in points."""
        paths = [folder / SUMMARY, *sorted((folder / DEVICES).glob("*.json"))]
        paths += [path for name in (PREDICTIONS, IMAGES) if (path := folder / name).is_file()]
        return ReportInputs(
            versions=versions(),
            files={path.relative_to(folder).as_posix(): sha256_file(path) for path in paths},
            budget=budget,
        )


class ShardInputs(Inputs):
    """What decides the scores of a file on some images; paths of the images do not.

    `machine` is the one that computes them, as far as sums depend on it. `base` is the sha256 of
    the logits that they are compared with; empty of a base, whose logits are kept.
    """

    subject: Manifest
    base: str
    hashes: tuple[str, ...]
    labels: tuple[int, ...]
    transform: EvalTransform
    machine: Environment

    @staticmethod
    def of(
        artifact: Artifact, images: ImageSet, machine: Environment, base: str = ""
    ) -> ShardInputs:
        """The record of a shard."""
        return ShardInputs(
            versions=all_versions(),
            subject=_described(artifact),
            base=base,
            hashes=images.hashes,
            labels=tuple(map(int, images.labels)),
            transform=images.transform,
            machine=machine,
        )


class TimingInputs(Inputs):
    """What decides latencies on a device; `machine` is None of a device that has a name."""

    subjects: tuple[Manifest, ...]
    options: BenchOptions
    device: str
    machine: Environment | None

    @staticmethod
    def of(
        artifacts: Iterable[Artifact],
        options: BenchOptions,
        device: str,
        machine: Environment | None,
    ) -> TimingInputs:
        """The record of a benchmark somewhere."""
        return TimingInputs(
            versions=all_versions(),
            subjects=tuple(_described(artifact) for artifact in artifacts),
            options=options,
            device=device,
            machine=machine,
        )


def _without_paths(settings: QuantizeSettings) -> QuantizeSettings:
    """The settings without where the recipe and the images are: a record has their content."""
    options = replace(settings.options, calib="", recipe=None, exclude=())
    if options.qat:
        options = replace(options, qat=replace(options.qat, data=""))
    return replace(settings, options=options)


def _subject(subject: Subject) -> NetworkFacts | Manifest:
    if subject.artifact:
        return _described(subject.artifact)
    assert subject.checkpoint  # noqa: S101 - a subject is one or the other
    return NetworkFacts.of(subject.checkpoint)


def _described(artifact: Artifact) -> Manifest:
    """An artifact's manifest, which has its hash, without what was measured when it was made."""
    conversion = artifact.manifest.conversion
    if conversion:
        conversion = conversion.model_copy(update={"seconds": None, "peak_mb": None})
    measured = {"conversion": conversion, "parity": None, "conversion_parity": None}
    update = measured | {"clipping": {}, "manifest_sha256": ""}
    return artifact.manifest.model_copy(update=update)


def _makers(settings: ExportSettings) -> dict[str, str]:
    """Versions of the packages that make a file."""
    extras = [settings.engine] if settings.engine not in ("", ENGINE) else []
    if settings.converter:
        extras += [settings.format.folder, settings.converter.extra]
    return versions(*extras)
