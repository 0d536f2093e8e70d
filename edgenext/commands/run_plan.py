"""What a run works on: its configuration, checked and loaded once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgenext.commands.candidates import (
    cpu_targets,
    named_after_format,
    quantize_candidates,
    require_converter,
)
from edgenext.commands.config import RunConfig
from edgenext.commands.context import Context
from edgenext.commands.folder import WorkOwner, work_folder
from edgenext.commands.images import labelled_images, recorded_division
from edgenext.commands.inputs import TrainInputs
from edgenext.commands.quantize import (
    QuantizeSettings,
    own_quantization,
    resolve_quantization,
    settings_images,
)
from edgenext.commands.sample_size import what_images_show
from edgenext.commands.stages import Announce, Stages, key, numbered
from edgenext.commands.subject import Subject
from edgenext.commands.timing_device import TimingDevice, timing_device
from edgenext.commands.train import (
    Training,
    choose_recipe,
    knows_classes,
    prepare_training,
    train,
)
from edgenext.data import ImageSet
from edgenext.errors import unknown_name
from edgenext.metrics.sequence import sequence_interval
from edgenext.metrics.statistics import tango_interval
from edgenext.models import zoo
from edgenext.models.cache import cached_path
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import (
    AUTO,
    ENGINE,
    DataOptions,
    ModelOptions,
    QuantizeOptions,
)
from edgenext.quantize.baseline_rows import BASELINES
from edgenext.quantize.recipe import load_recipe
from edgenext.schema.validation import validated
from edgenext.system.parsing import read_json
from edgenext.train import TrainRecipe
from edgenext.train import load_recipe as load_training_recipe

EVALUATED = 0.5
"""The share of a data set without split folders that is evaluated on, where none is trained on."""

_log = logging.getLogger(__name__)


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
    data: DataOptions
    """The images to evaluate on."""
    timing: TimingDevice
    """Where the files are timed."""

    @property
    def own_targets(self) -> tuple[str, ...]:
        """The targets that files are made for, without those of baselines."""
        return _own_targets(self.settings)

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
        DeviceError: the device that times the files does not answer.
        OutputError: another process works in the folder, or it holds another network's work.
    """
    timing = timing_device(config.bench.device, config.quantize.target)
    settings = _settings(config, timing)
    for one in settings.values():
        require_converter(one.export)
    training = _training(config, context)
    if training:
        start, drawn = training.checkpoint, training.recipe.from_scratch
    else:
        start, drawn = context.checkpoint(config.model, config.model_options), False
    with (
        work_folder(config.out, WorkOwner.of(start, drawn=drawn)),
        context.progress.steps(*_stage_names(config, settings, training)),
    ):
        stages = Stages(config.out, numbered(announce, context.progress))
        options, trained = config.model_options, None
        if training:
            _say_what_images_show(config, len(training.val), announce)
            announce(training.summary, True)
            options, trained = _train(training, config.out, context, stages)
        plan = _load(config, context, stages, settings, timing, options, trained)
        if not training:
            _say_what_images_show(config, len(plan.evaluation), announce)
        yield plan


def _stage_names(
    config: RunConfig, settings: Mapping[str, QuantizeSettings], training: Training | None
) -> Iterator[str]:
    """What a run does, in order; see `Stages`."""
    if training:
        yield "train"
    yield from ("decoding *", "export plain", *export_stages(_own_targets(settings)))
    yield from (f"quantize, {engine}" for engine in settings)
    yield from ("evaluate", "benchmark")
    if config.stress:
        yield "twin"
        yield from (f"quantize twin, {engine}" for engine in settings)
        yield "evaluate twin"
    yield "report"


def export_stages(targets: Sequence[str]) -> tuple[str, ...]:
    """The stages that make the targets' own float files; the first has the short name."""
    return ("export", *(f"export, {target}" for target in targets[1:]))


def _own_targets(settings: Mapping[str, QuantizeSettings]) -> tuple[str, ...]:
    own = (one.recipe.target for one in settings.values() if one.options.engine == ENGINE)
    return tuple(dict.fromkeys(own))


def _load(
    config: RunConfig,
    context: Context,
    stages: Stages,
    settings: Mapping[str, QuantizeSettings],
    timing: TimingDevice,
    options: ModelOptions,
    trained: dict[str, float] | None,
) -> RunPlan:
    """The plan, with its network and images loaded."""
    checkpoint = context.checkpoint(config.model, options)
    subject = Subject(checkpoint=checkpoint)
    division = None
    if _divides(config, settings) and recorded_division(subject, config.data) is None:
        division = context.division(config.data, config.quantize.seed, EVALUATED)
    data = DataOptions(config.data, config.limit, division=division)
    evaluation = labelled_images(context, subject, data)
    settings = {
        engine: replace(
            one, options=replace(one.options, exclude=evaluation.hashes, division=division)
        )
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
        data,
        timing,
    )


def _divides(config: RunConfig, settings: Mapping[str, QuantizeSettings]) -> bool:
    """Whether the data is both calibrated and evaluated on."""
    calibrated = any(one.export.calibrated for one in settings.values())
    return calibrated and config.calib in (None, config.data)


def _say_what_images_show(config: RunConfig, n: int, announce: Announce) -> None:
    interval = sequence_interval if config.stops_early else tango_interval
    n = min(n, config.limit or n)
    announce(what_images_show(config.data, n, config.budget, interval), True)


def _settings(config: RunConfig, timing: TimingDevice) -> dict[str, QuantizeSettings]:
    """What each engine makes: this package's own the target's file, a baseline that it is for."""
    stage = config.quantize
    for baseline in config.baselines:
        if baseline not in BASELINES:
            raise unknown_name("baseline", baseline, BASELINES)
    options = QuantizeOptions(
        scheme=stage.scheme,
        target=stage.target,
        recipe=stage.recipe,
        gelu=stage.gelu,
        calib=config.calib or config.data,
        n=stage.n,
        seed=stage.seed,
        qat=stage.qat_options,
    )
    settings = _own_settings(options, timing)
    for baseline in config.baselines:
        target = BASELINES[baseline].target
        other = replace(options, engine=baseline, target=target, recipe=None, qat=None, gelu="")
        settings[baseline] = resolve_quantization(other)
    return settings


def _own_settings(options: QuantizeOptions, timing: TimingDevice) -> dict[str, QuantizeSettings]:
    """The files of this package's own quantizer: one, or one for each target of the CPU."""
    if options.target == AUTO:
        targets = cpu_targets(timing)
        for name, remedy in targets.missing.items():
            _log.warning("left out: %s. %s", name, remedy)
        return {
            name: replace(settings, export=named_after_format(settings.export))
            for name, settings in quantize_candidates(options, targets).items()
        }
    target = load_recipe(options.target, options.scheme, options.recipe).target
    return {ENGINE: own_quantization(replace(options, target=target))}


def _training(config: RunConfig, context: Context) -> Training | None:
    """What the run trains first; None if it uses weights as they are."""
    if config.train is None and config.epochs is None and not _must_train(config, context):
        return None
    values = dict(config.train or {})
    if config.epochs is not None:
        values["epochs"] = config.epochs
    options = config.model_options
    name = values.get("recipe")
    if name is None:
        start = choose_recipe(config.model, config.data, options, context=context)
    else:
        start = load_training_recipe(str(name))
    recipe = validated(TrainRecipe, start.model_dump() | values, "[train]")
    if config.train is None and not options.weights and not options.random_weights:
        published = cached_path(config.model)
        options = replace(options, weights=published if published.is_file() else None)
    return prepare_training(config.model, config.data, recipe, options, context=context)


def _must_train(config: RunConfig, context: Context) -> bool:
    """Whether there are no weights for the classes of the data.

    Published weights that are not here do not count as missing where the data has their classes:
    they are to be fetched. Weights that know some of the classes are used as they are.
    """
    options = config.model_options
    if options.random_weights or options.reset_head:
        return False
    folders = context.class_folders(config.data, "val")
    if options.weights is None and not cached_path(config.model).is_file():
        if set(folders) <= set(zoo.imagenet_wnids()):
            return False
        _log.warning(
            "the weights of %s are not here, so it is trained from scratch; from weights, after "
            "`edgenext fetch %s` or with --weights, it learns far more of few images",
            config.model, config.model,
        )  # fmt: skip
        return True
    checkpoint = context.checkpoint(config.model, options)
    if checkpoint.labels is None:
        return not knows_classes(checkpoint, folders)
    return not any(knows_classes(checkpoint, [folder]) for folder in folders)


def _train(
    training: Training, out: Path, context: Context, stages: Stages
) -> tuple[ModelOptions, dict[str, float]]:
    """Train: where the weights are, and what the report says of the training."""
    inputs = TrainInputs.of(training)
    # a folder of its own: an interrupted training is resumed only with the same inputs
    folder = out / "training" / key(inputs)[:8]

    def produce() -> list[Path]:
        result = train(training, out=folder, resume=True, context=context)
        return [result.weights, result.sidecar]

    weights, sidecar = stages.stage("train", inputs, produce)
    facts = read_json(sidecar)
    trained = {k: float(facts[k]) for k in ("epochs", "seconds", "top1") if k in facts}
    return ModelOptions(weights=weights), trained
