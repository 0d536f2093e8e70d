"""What a sweep works on: its networks and images, loaded once, and the jobs of each point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

from edgenext.commands.context import Context, Role
from edgenext.commands.images import labelled_images, recorded_division, sample_images
from edgenext.commands.inputs import ExportInputs, QuantizeInputs, ShardInputs, TimingInputs
from edgenext.commands.quantize import own_quantization, scheme_images
from edgenext.commands.run_plan import EVALUATED
from edgenext.commands.stages import key
from edgenext.commands.subject import Subject
from edgenext.commands.sweep_config import SweepConfig
from edgenext.commands.sweep_images import ListedImages
from edgenext.commands.sweep_make import MAKE, MakeRequest
from edgenext.commands.sweep_measure import EVALUATE, KEPT, TIME, EvaluateRequest, TimeRequest
from edgenext.commands.sweep_store import SweepStore
from edgenext.commands.sweep_worker import QUIET_CORE
from edgenext.data import ImageSet, require_disjoint
from edgenext.export.settings import float_settings
from edgenext.formats.artifact import Artifact
from edgenext.models.cache import cached_path
from edgenext.models.sidecar import sidecar_path
from edgenext.options import THIS_CPU, BenchOptions, DataOptions, ModelOptions, QuantizeOptions
from edgenext.schema import (
    Division,
    Environment,
    MadeArtifact,
    ShardScores,
    SweepPoint,
    TreeFile,
)
from edgenext.schema.key import Inputs
from edgenext.system.jobs.job import Job
from edgenext.targets.scheme import FLOAT, ROWS


def lease_of(device: str) -> str:
    """The lease of a device."""
    return QUIET_CORE if device == THIS_CPU else device


@dataclass(frozen=True)
class SweptNetwork:
    """A model in one size: its weights, and the images that its files are evaluated on.

    `weights` and `labels` are the files of its options in the sweep's folder.
    """

    model: str
    options: ModelOptions
    subject: Subject
    evaluation: ImageSet
    division: Division | None
    weights: TreeFile | None
    labels: TreeFile | None


@dataclass(frozen=True)
class SweepPlan:
    """The networks of a sweep, and the machines that its jobs are done on.

    `arithmetic` is the machine that evaluates, as far as sums depend on it, `timing` the machine
    whose CPU is timed; None if none is.
    """

    config: SweepConfig
    context: Context
    store: SweepStore
    networks: dict[tuple[str, int | None], SweptNetwork]
    arithmetic: Environment
    timing: Environment | None

    def network(self, point: SweepPoint) -> SweptNetwork:
        """The network of a point."""
        return self.networks[point.model, point.size]

    def make_job(self, point: SweepPoint) -> Job:
        """The job that makes a point's file.

        Raises:
            UsageError: its target does not run the scheme.
            EdgenextError: there are no images to calibrate on.
        """
        network = self.network(point)
        inputs, images = self._make_inputs(point, network)
        files = [file for file in (network.weights, network.labels) if file]
        request = MakeRequest(
            model=network.model,
            options=replace(network.options, weights=None, labels=None),
            weights=network.weights,
            labels=network.labels,
            scheme=point.scheme,
            target=point.target,
            seed=point.seed,
            images=images,
        )
        return _job(inputs, MAKE, request.model_dump(mode="json"), files)

    def shard_jobs(
        self, point: SweepPoint, record: MadeArtifact, base: Sequence[ShardScores] = ()
    ) -> list[Job]:
        """The jobs that evaluate a file, in the order of the images.

        Args:
            point: whose file it is.
            record: the file.
            base: the scores of its base, shard by shard; none of a base.

        Raises:
            OverlapError: it was calibrated on some of them.
        """
        artifact, evaluation = self.store.artifact(record), self.network(point).evaluation
        require_disjoint(evaluation, *artifact.manifest.fitted_on)
        size = self.config.shard
        starts = range(0, len(evaluation), size)
        return [
            self._shard_job(artifact, record, evaluation.take(range(start, end)), scores)
            for start, scores in zip(starts, base or repeat(None, len(starts)), strict=True)
            for end in (min(start + size, len(evaluation)),)
        ]

    def timing_job(self, device: str, files: Sequence[MadeArtifact]) -> Job:
        """The job that times files on a device; the first is the base."""
        options = BenchOptions(**self.config.bench.model_dump())
        trees = [record.tree_file for record in files]
        artifacts = [self.store.artifact(record) for record in files]
        machine = self.timing if device == THIS_CPU else None
        inputs = TimingInputs.of(artifacts, options, device, machine)
        request = TimeRequest(artifacts=tuple(trees), device=device, options=options)
        return _job(inputs, TIME, request.model_dump(mode="json"), trees, lease_of(device))

    def _make_inputs(self, point: SweepPoint, network: SweptNetwork) -> tuple[Inputs, ListedImages]:
        """What decides a point's file, and the images that it is made from."""
        data, calib = self.config.data, self.config.calib or self.config.data
        checkpoint = network.subject.checkpoint
        assert checkpoint  # noqa: S101 - a sweep's subjects are networks
        if point.scheme == FLOAT:
            samples = sample_images(self.context, network.subject, data)
            inputs = ExportInputs.of(checkpoint, float_settings(point.target), samples)
            return inputs, ListedImages.of(samples, data, "val")
        options = QuantizeOptions(
            point.scheme,
            point.target,
            calib=calib,
            n=self.config.n,
            seed=point.seed,
            exclude=network.evaluation.hashes,
            division=network.division,
        )
        settings = own_quantization(options)
        if settings.export.calibrated:
            images = scheme_images(self.context, network.subject, settings)
        else:
            images = sample_images(self.context, network.subject, calib)
        role: Role = "train" if settings.export.calibrated else "val"
        quantized = QuantizeInputs.of(network.subject, settings, images, settings.recipe)
        return quantized, ListedImages.of(images, calib, role)

    def _shard_job(
        self, artifact: Artifact, record: MadeArtifact, images: ImageSet, base: ShardScores | None
    ) -> Job:
        digest = base.logits_sha256 if base else ""
        inputs = ShardInputs.of(artifact, images, self.arithmetic, digest)
        files = [record.tree_file]
        if base:
            files.append(TreeFile(tree=base.tree, file=KEPT))
        request = EvaluateRequest(
            artifact=files[0],
            base=files[1] if base else None,
            images=ListedImages.of(images, self.config.data, "val"),
        )
        return _job(inputs, EVALUATE, request.model_dump(mode="json"), files)


def load_networks(
    config: SweepConfig, context: Context, store: SweepStore
) -> dict[tuple[str, int | None], SweptNetwork]:
    """Every model of the grid in every size, with the images as it sees them.

    Raises:
        CheckpointError: weights that are missing or do not fit.
        DataError: images that cannot be used.
    """
    pairs = dict.fromkeys((point.model, point.size) for point in config.points)
    return {(model, size): _network(config, context, store, model, size) for model, size in pairs}


def _network(
    config: SweepConfig, context: Context, store: SweepStore, model: str, size: int | None
) -> SweptNetwork:
    options = config.model_options(model, size)
    subject = Subject(checkpoint=context.checkpoint(model, options))
    division = None
    calibrated = any(ROWS[scheme].calibrated for scheme in config.grid.scheme)
    divides = calibrated and config.calib in (None, config.data)
    if divides and recorded_division(subject, config.data) is None:
        division = context.division(config.data, 0, EVALUATED)
    data = DataOptions(config.data, config.limit, division=division)
    weights = None if options.random_weights else options.weights or cached_path(model)
    return SweptNetwork(
        model,
        options,
        subject,
        labelled_images(context, subject, data),
        division,
        store.add_file(weights, sidecar_path(weights)) if weights else None,
        store.add_file(options.labels) if options.labels else None,
    )


def _job(
    inputs: Inputs,
    function: str,
    arguments: dict[str, Any],
    files: Sequence[TreeFile],
    lease: str = "",
) -> Job:
    trees = tuple(dict.fromkeys(file.tree for file in files))
    return Job(key(inputs), function, arguments, trees, lease)
