"""What a run works on: its configuration, checked and loaded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgenext.commands.config import RunConfig
from edgenext.commands.context import Context
from edgenext.commands.folder import WorkOwner, work_folder
from edgenext.commands.images import labelled_images
from edgenext.commands.inputs import TrainInputs
from edgenext.commands.quantize import QuantizeSettings, resolve_quantization, settings_images
from edgenext.commands.stages import Announce, Stages, key
from edgenext.commands.subject import Subject
from edgenext.commands.train import Training, prepare_training, train
from edgenext.data import ImageSet
from edgenext.errors import unknown_name
from edgenext.export.settings import ExportSettings
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import (
    ENGINE,
    DataOptions,
    ExportOptions,
    ModelOptions,
    QuantizeOptions,
)
from edgenext.quantize.baseline_rows import BASELINES
from edgenext.quantize.recipe import load_recipe
from edgenext.schema.validation import validated
from edgenext.system.environments import python_for
from edgenext.system.parsing import read_json
from edgenext.targets.target import require_target
from edgenext.train import TrainRecipe


@dataclass(frozen=True)
class RunPlan:
    """Everything a run works on, resolved once.

    `settings` holds the quantization of each engine: this package's own, then the baselines.
    """

    config: RunConfig
    context: Context
    stages: Stages
    model_options: ModelOptions
    checkpoint: Checkpoint
    evaluation: ImageSet
    settings: Mapping[str, QuantizeSettings]
    trained: dict[str, float] | None

    @property
    def data(self) -> DataOptions:
        """The images to evaluate on."""
        return DataOptions(self.config.data, self.config.limit)

    @property
    def subject(self) -> Subject:
        """The network."""
        return Subject(checkpoint=self.checkpoint)


@contextmanager
def planned_run(config: RunConfig, context: Context, announce: Announce) -> Iterator[RunPlan]:
    """Check the configuration, hold the run's folder, train if asked, and load everything else.

    Whatever speaks against the run is found before anything is done: training may take hours.

    Raises:
        UsageError: a target, scheme or baseline that does not exist or does not go together.
        MissingDependencyError: a converter that is not installed.
        OutputError: another process works in the folder, or it holds another network's work.
    """
    settings = _settings(config)
    _require_converter(settings[ENGINE].export)
    training = _training(config, context)
    if training:
        start, drawn = training.checkpoint, training.recipe.from_scratch
    else:
        start, drawn = context.checkpoint(config.model, config.model_options), False
    with work_folder(config.out, WorkOwner.of(start, drawn=drawn)):
        stages = Stages(config.out, announce)
        options, trained = config.model_options, None
        if training:
            options, trained = _train(training, config.out, context, stages)
        yield _load(config, context, stages, settings, options, trained)


def _load(
    config: RunConfig,
    context: Context,
    stages: Stages,
    settings: Mapping[str, QuantizeSettings],
    options: ModelOptions,
    trained: dict[str, float] | None,
) -> RunPlan:
    """The plan, with its network and images loaded."""
    checkpoint = context.checkpoint(config.model, options)
    subject = Subject(checkpoint=checkpoint)
    evaluation = labelled_images(context, subject, DataOptions(config.data, config.limit))
    settings = {
        engine: replace(one, options=replace(one.options, exclude=evaluation.hashes))
        for engine, one in settings.items()
    }
    for one in settings.values():
        settings_images(context, subject, one)  # whatever is wrong with them is found now
    return RunPlan(
        config,
        context,
        stages,
        options,
        checkpoint,
        evaluation,
        settings,
        trained,
    )


def _settings(config: RunConfig) -> dict[str, QuantizeSettings]:
    """What each engine makes: this package's own the target's file, a baseline that it is for."""
    stage = config.quantize
    for baseline in config.baselines:
        if baseline not in BASELINES:
            raise unknown_name("baseline", baseline, BASELINES)
    target = load_recipe(stage.target, stage.scheme, stage.recipe).target
    options = QuantizeOptions(
        scheme=stage.scheme,
        target=target,
        recipe=stage.recipe,
        calib=config.calib or config.data,
        n=stage.n,
        seed=stage.seed,
    )
    own = ExportOptions(format=require_target(target).format)
    settings = {ENGINE: resolve_quantization(options, own)}
    for baseline in config.baselines:
        other = replace(options, engine=baseline, target=BASELINES[baseline].target, recipe=None)
        settings[baseline] = resolve_quantization(other)
    return settings


def _require_converter(settings: ExportSettings) -> None:
    """Refuse a run whose files nothing here can make."""
    if settings.converter and settings.converter.needs:
        python_for(settings.converter.needs, settings.converter.extra or settings.format.folder)


def _training(config: RunConfig, context: Context) -> Training | None:
    """What the run trains first; None if it uses weights as they are."""
    if config.train is None:
        return None
    recipe = validated(TrainRecipe, config.train, "[train]")
    return prepare_training(
        config.model, config.data, recipe, config.model_options, context=context
    )


def _train(
    training: Training, out: Path, context: Context, stages: Stages
) -> tuple[ModelOptions, dict[str, float]]:
    """Train: where the weights are, and what the report says of the training."""
    inputs = TrainInputs.of(training)
    # a folder of its own: an interrupted training is resumed only with the same inputs
    folder = out / "training" / key(inputs)[:8]

    def produce() -> list[Path]:
        result = train(training, folder, resume=True, context=context)
        return [result.weights, result.sidecar]

    weights, sidecar = stages.stage("train", inputs, produce)
    facts = read_json(sidecar)
    trained = {k: float(facts[k]) for k in ("epochs", "seconds", "top1") if k in facts}
    return ModelOptions(weights=weights), trained
