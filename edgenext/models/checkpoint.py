"""Checkpoints: weights, architecture, class count and evaluation transform, with a sha256."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenext.errors import CheckpointError, DataError, UsageError, unknown_name
from edgenext.models import zoo
from edgenext.models.cache import cached_path, find_published, known_sha256
from edgenext.models.labels import require_distinct
from edgenext.models.random_weights import fresh_head, random_state, state_sha256
from edgenext.models.sidecar import (
    Sidecar,
    evaluation_transform,
    read_labels,
    read_sidecar,
    sidecar_path,
)
from edgenext.models.state import (
    CLASSIFIER,
    HEAD,
    State,
    find_state,
    float32_state,
    head_classes,
    mismatch,
    nearest_arch,
)
from edgenext.models.unpickle import read_weights_file
from edgenext.schema import Division, EvalTransform, Exif
from edgenext.system.files import sha256_file

if TYPE_CHECKING:
    from edgenext.models.network import EdgeNeXt

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights that fit their architecture, and what is needed to use them."""

    name: str
    """How results call the network."""
    arch: str
    """The architecture, such as `edgenext_small`."""
    num_classes: int
    """Outputs of the head; 0 of a backbone without one."""
    state: State
    """The weights by their published names, float32 (counters int64)."""
    eval: EvalTransform
    """How images become inputs."""
    labels: tuple[str, ...] | None
    """The classes in the order of the outputs, as folders of images are called."""
    sha256: str
    """Of the weights file; with the prefix `random:` or `fresh-head:` of the state itself."""
    source: str
    """The path of the weights file, or what the weights are instead."""
    published: bool = False
    """Whether the file is byte for byte a published one."""
    class_names: tuple[str, ...] | None = None
    """What people call the classes; None: as the labels say."""
    division: Division | None = None
    """How data without split folders was divided to train these weights."""
    backbone: bool = False
    """Whether it was loaded for a backbone, which has no classes."""

    def network(self, drop_path: float = 0.0, features_only: bool = False) -> EdgeNeXt:
        """A new network with a copy of these weights, in evaluation mode."""
        import torch

        with torch.device("meta"):  # no time or random numbers for initial weights
            network = zoo.create_model(
                self.arch, self.num_classes, drop_path=drop_path, features_only=features_only
            )
        names = network.state_dict().keys()
        copies = {k: v.clone() for k, v in self.state.items() if k in names}
        network.load_state_dict(copies, strict=True, assign=True)
        return network.eval()


def load_checkpoint(
    model: str | None,
    weights: Path | None = None,
    *,
    random_weights: bool = False,
    seed: int = 0,
    num_classes: int | None = None,
    reset_head: bool = False,
    backbone: bool = False,
    size: int | None = None,
    crop_pct: float | None = None,
    exif: Exif | None = None,
    labels: Path | None = None,
    cache_dir: Path | None = None,
) -> Checkpoint:
    """Load the checkpoint of a model's name, of a weights file, or of both.

    Args:
        model: a published checkpoint or an architecture. None: the architecture in the sidecar, or
            else the one that fits the weights; without weights the default model.
        weights: a published, bare, timm or training checkpoint, or a safetensors file. None: the
            published file of `model` in the cache.
        random_weights: use seeded random weights instead, for measurements of speed.
        seed: seed of random weights and of a fresh head.
        num_classes: the required number of classes; with `reset_head`, that of the fresh head.
        reset_head: replace the head by a fresh one.
        backbone: take weights that have no head and no norm before it, too, such as those of
            timm's `features_only=True`.
        size: evaluation size in pixels; overrides the sidecar and the published transform.
        crop_pct: likewise.
        exif: likewise: whether images are turned as their EXIF orientation says.
        labels: a file with one class per line; likewise.
        cache_dir: the folder of downloaded checkpoints, instead of the default cache.

    Raises:
        UsageError: an unknown model, or invalid options.
        CheckpointError: the weights are missing, unsafe, damaged or do not fit.
        DataError: the labels file cannot be used.

    >>> checkpoint = load_checkpoint("edgenext_xx_small", random_weights=True, num_classes=10)
    >>> checkpoint.arch, checkpoint.num_classes, checkpoint.eval.size
    ('edgenext_xx_small', 10, 256)
    """
    if model is not None:
        zoo.arch(model)  # report an unknown name before reading any file
    if num_classes is not None:
        zoo.check_classes(num_classes)
    if weights is None and model is None:
        model = zoo.DEFAULT_MODEL
    if random_weights:
        if weights is not None:
            raise UsageError("--random-weights and --weights cannot be used together")
        checkpoint = _random(model or zoo.DEFAULT_MODEL, num_classes, seed)
        sidecar = Sidecar()
    else:
        path = weights or _cached_file(model or zoo.DEFAULT_MODEL, cache_dir)
        root = read_weights_file(path)
        sidecar = read_sidecar(path)
        without = CLASSIFIER if backbone else HEAD if reset_head else ()
        checkpoint = _from_file(model, path, root, sidecar, cache_dir, without)
        if weights is not None and not checkpoint.published:
            checkpoint = replace(checkpoint, name=weights.stem)
        if reset_head and not backbone:
            checkpoint = _with_fresh_head(checkpoint, path, num_classes, seed)
        elif not backbone:
            _check_classes(checkpoint, path, sidecar, num_classes)
    if backbone:
        class_labels, class_names = None, None
    else:
        class_labels, class_names = _labels(checkpoint, sidecar, labels, reset_head)
    return replace(
        checkpoint,
        eval=evaluation_transform(checkpoint.eval, sidecar, size, crop_pct, exif),
        labels=class_labels,
        class_names=class_names,
        division=sidecar.division,
        backbone=backbone,
    )


def _card_eval(model: str | None) -> EvalTransform:
    """The transform of a published checkpoint, else the default transform."""
    return zoo.card(model).eval if model in zoo.checkpoint_table() else EvalTransform()


def _arch_name(model: str) -> str:
    return model if model in zoo.arch_table() else zoo.card(model).arch


def _random(model: str, num_classes: int | None, seed: int) -> Checkpoint:
    arch, classes = _arch_name(model), num_classes or zoo.IMAGENET_CLASSES
    state = random_state(arch, classes, seed)
    return Checkpoint(
        name=model,
        arch=arch,
        num_classes=classes,
        state=state,
        eval=_card_eval(model),
        labels=None,
        sha256=f"random:{state_sha256(state)}",
        source=f"random weights, seed {seed}",
    )


def _cached_file(model: str, cache_dir: Path | None) -> Path:
    path = cached_path(model, cache_dir)
    if not path.is_file():
        raise CheckpointError(
            f"the weights of {model} are not in the cache",
            f"Run `edgenext fetch {model}`, or give --weights FILE, or --random-weights",
        )
    known = known_sha256(model, cache_dir)
    if known and sha256_file(path) != known:
        raise CheckpointError(
            f"{path} differs from the {model} that was published or first downloaded",
            f"Run `edgenext fetch {model}` to download it again",
        )
    return path


def _from_file(
    model: str | None,
    path: Path,
    root: Any,
    sidecar: Sidecar,
    cache_dir: Path | None,
    without: tuple[str, ...],
) -> Checkpoint:
    """The checkpoint in a file's root object, with its architecture and every tensor checked."""
    sha256 = sha256_file(path)
    published = find_published(sha256, cache_dir)
    model = model or published
    key = zoo.checkpoint_table()[model]["key"] if model in zoo.checkpoint_table() else None
    state = find_state(root, path, key)
    num_classes = head_classes(state) or 0
    arch = _matching_arch(model, path, sidecar, state, without)
    if without == HEAD:
        state = {k: v for k, v in state.items() if k not in HEAD}
    log.info("%s: %d tensors of %s", path, len(state), arch)
    return Checkpoint(
        name=published or model or arch,
        arch=arch,
        num_classes=num_classes,
        state=float32_state(state, arch, path),
        eval=_card_eval(published or model),
        labels=None,
        sha256=sha256,
        source=str(path),
        published=published is not None,
    )


def _matching_arch(
    model: str | None, path: Path, sidecar: Sidecar, state: State, without: tuple[str, ...]
) -> str:
    """The architecture of `model`, of the sidecar, or the nearest, if the weights fit it."""
    if model is None and sidecar.arch is None:
        arch = nearest_arch(state, without=without)
        if difference := mismatch(state, arch, without=without):
            _require_head(path, state, arch)
            raise CheckpointError(
                f"{path} does not fit any EdgeNeXt architecture; the nearest is {arch}: "
                f"{difference}"
            )
        return arch
    if model is None and sidecar.arch not in zoo.arch_table():
        error = unknown_name("architecture", str(sidecar.arch), zoo.arch_table())
        raise CheckpointError(f"{sidecar_path(path)} has an {error.message}", error.remedy)
    arch = _arch_name(model or str(sidecar.arch))
    if difference := mismatch(state, arch, without=without):
        _require_head(path, state, arch)
        nearest = nearest_arch(state, without=without)
        fits = not mismatch(state, nearest, without=without)
        raise CheckpointError(
            f"{path} does not fit {arch}: {difference}",
            f"The weights fit {nearest}" if fits else "They do not fit any EdgeNeXt architecture",
        )
    return arch


def _require_head(path: Path, state: State, arch: str) -> None:
    """Refuse the weights of a backbone where a classifier is needed.

    Raises:
        CheckpointError: nothing but the head and the norm before it is missing.
    """
    if not any(k.startswith(CLASSIFIER) for k in state) and not mismatch(
        state, arch, without=CLASSIFIER
    ):
        raise CheckpointError(
            f"{path} is a backbone of {arch}: it has no head and no norm before it",
            "Export it with --features",
        )


def _with_fresh_head(
    checkpoint: Checkpoint, path: Path, num_classes: int | None, seed: int
) -> Checkpoint:
    classes = num_classes or checkpoint.num_classes
    if not classes:
        raise CheckpointError(
            f"{path} has no head and so no number of classes", "Give it with --num-classes"
        )
    state = checkpoint.state | fresh_head(checkpoint.arch, classes, seed)
    return replace(
        checkpoint,
        num_classes=classes,
        state=state,
        sha256=f"fresh-head:{state_sha256(state)}",
        source=f"{checkpoint.source}, fresh head of seed {seed}",
        published=False,
    )


def _check_classes(
    checkpoint: Checkpoint, path: Path, sidecar: Sidecar, num_classes: int | None
) -> None:
    if num_classes not in (None, checkpoint.num_classes):
        raise CheckpointError(
            f"{path} has a head of {checkpoint.num_classes} classes, not {num_classes}",
            f"Use --reset-head for a fresh head of {num_classes}",
        )
    if sidecar.num_classes not in (None, checkpoint.num_classes):
        raise CheckpointError(
            f"{sidecar_path(path)} says {sidecar.num_classes} classes, "
            f"the head of {path.name} has {checkpoint.num_classes}",
            "Correct the JSON file",
        )


def _labels(
    checkpoint: Checkpoint, sidecar: Sidecar, file: Path | None, reset_head: bool
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Labels and names of the file, of the sidecar, or of ImageNet if the head has its classes.

    Raises:
        CheckpointError: the sidecar's labels do not fit the head, or name a class twice.
        DataError: a published head has ImageNet's classes in another order.
    """
    labels, names = read_labels(file) if file else (sidecar.labels, sidecar.class_names)
    origin = str(file or "sidecar")
    for kind, values in (("labels", labels), ("class names", names)):
        if values is not None and len(values) != checkpoint.num_classes:
            if reset_head and not file:  # those of the sidecar are of the old head
                return None, None
            raise CheckpointError(
                f"{len(values)} {kind} ({origin}) for a head of {checkpoint.num_classes} classes",
                f"Give one {kind[:-1]} per class, in the order of the head's outputs",
            )
    if labels is None:
        classes = checkpoint.num_classes
        return (zoo.imagenet_wnids() if classes == zoo.IMAGENET_CLASSES else None), names
    require_distinct(labels, f"the {origin}", "positions", CheckpointError)
    if checkpoint.published:
        _check_order(labels, origin, checkpoint.name)
    return labels, names


def _check_order(labels: tuple[str, ...], origin: str, name: str) -> None:
    """Refuse ImageNet's classes in another order than that of the published heads."""
    wnids = zoo.imagenet_wnids()
    if labels != wnids and set(labels) == set(wnids):
        at = next(i for i, pair in enumerate(zip(labels, wnids, strict=True)) if len(set(pair)) > 1)
        raise DataError(
            f"{origin} has ImageNet's classes in another order than the outputs of {name}: label "
            f"{at + 1} is {labels[at]}, not {wnids[at]}",
            "Use the order of synset_words.txt, or leave --labels out",
        )
