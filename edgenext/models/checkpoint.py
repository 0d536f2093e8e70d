"""A checkpoint: weights, architecture, class count and evaluation transform, tied by sha256."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenext.errors import CheckpointError, UsageError, unknown_name
from edgenext.models import zoo
from edgenext.models.cache import cached_path, published_as, sha256_known
from edgenext.models.random_weights import fresh_head, random_state, state_sha256
from edgenext.models.sidecar import (
    Sidecar,
    read_labels,
    read_sidecar,
    sidecar_path,
    transform,
)
from edgenext.models.state import (
    HEAD,
    State,
    find_state,
    head_classes,
    misfit,
    nearest_arch,
    usable,
)
from edgenext.models.unpickle import read_weights_file
from edgenext.schema import EvalTransform
from edgenext.system.files import sha256_file

if TYPE_CHECKING:
    from edgenext.models.network import EdgeNeXt

log = logging.getLogger(__name__)

IMAGENET_CLASSES = 1000


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights that fit their architecture, and what is needed to use them.

    `state` holds the published names, float32 (counters int64). `sha256` is that of the weights
    file; behind `random:` or `fresh-head:` it is that of the state, which no file holds.
    `published` says that the file is a published one, byte for byte.
    """

    name: str
    arch: str
    num_classes: int
    state: State
    eval: EvalTransform
    labels: tuple[str, ...] | None
    sha256: str
    source: str
    published: bool = False

    def network(self, drop_path: float = 0.0, features_only: bool = False) -> EdgeNeXt:
        """A network of its own with these weights, in evaluation mode."""
        import torch

        with torch.device("meta"):  # neither time nor random numbers for weights not used
            network = zoo.create_model(self.arch, self.num_classes, drop_path, features_only)
        wanted = network.state_dict().keys()
        copies = {k: v.clone() for k, v in self.state.items() if k in wanted}
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
    size: int | None = None,
    crop_pct: float | None = None,
    labels: Path | None = None,
    cache_dir: Path | None = None,
) -> Checkpoint:
    """The checkpoint of a model's name, a weights file, or both.

    Args:
        model: a published checkpoint or an architecture. None: the one of the sidecar or the one
            the weights fit; without weights the default model.
        weights: a published, bare, timm-named or training checkpoint, or safetensors. None: the
            published file of `model` from the cache.
        random_weights: draw seeded weights instead, where only speed matters.
        seed: of random weights and of a fresh head.
        num_classes: what the head must have, or gets with `reset_head`.
        reset_head: replace the head by a fresh one.
        size: evaluation size in pixels; overrides the sidecar and the published transform.
        crop_pct: likewise.
        labels: a file with one class a line; likewise.
        cache_dir: where fetched checkpoints are, instead of the default cache.

    Raises:
        UsageError: an unknown model, or options that cannot be.
        CheckpointError: weights that are missing, unsafe, damaged or do not fit.
        DataError: a labels file that cannot be used.
    """
    if model is not None:
        zoo.arch(model)  # an unknown name is an error before anything is read
    if num_classes is not None and num_classes < 1:
        raise UsageError(f"a head needs at least one class, not {num_classes}")
    if weights is None and model is None:
        model = zoo.DEFAULT_MODEL
    if random_weights:
        if weights is not None:
            raise UsageError("--random-weights and --weights exclude each other")
        found = _random(model or zoo.DEFAULT_MODEL, num_classes, seed)
        sidecar = Sidecar()
    else:
        path = weights or _cached(model or zoo.DEFAULT_MODEL, cache_dir)
        root = read_weights_file(path)
        sidecar = read_sidecar(path)
        found = _from_file(model, path, root, sidecar, cache_dir, reset_head)
        if weights is not None and not found.published:
            found = replace(found, name=weights.stem)
        if reset_head:
            found = _with_fresh_head(found, path, num_classes, seed)
        _check_classes(found, path, sidecar, num_classes, reset_head)
    return replace(
        found,
        eval=transform(found.eval, sidecar, size, crop_pct),
        labels=_labels(found, sidecar, labels, reset_head),
    )


def _card_eval(model: str | None) -> EvalTransform:
    """The published transform of a published name, else the default."""
    return zoo.card(model).eval if model in zoo.checkpoint_table() else EvalTransform()


def _arch_name(model: str) -> str:
    return model if model in zoo.arch_table() else zoo.card(model).arch


def _random(model: str, num_classes: int | None, seed: int) -> Checkpoint:
    arch, classes = _arch_name(model), num_classes or IMAGENET_CLASSES
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


def _cached(model: str, cache_dir: Path | None) -> Path:
    path = cached_path(model, cache_dir)
    if not path.is_file():
        raise CheckpointError(
            f"{model} has no weights here",
            f"Run `edgenext fetch {model}`, or give --weights FILE, or --random-weights",
        )
    known = sha256_known(model, cache_dir)
    if known and sha256_file(path) != known:
        raise CheckpointError(
            f"{path} is not the {model} that was published or first fetched",
            f"Run `edgenext fetch {model}` to fetch it again",
        )
    return path


def _from_file(
    model: str | None,
    path: Path,
    root: Any,
    sidecar: Sidecar,
    cache_dir: Path | None,
    reset_head: bool,
) -> Checkpoint:
    """The weights in a file's root object, their architecture settled, every tensor checked."""
    sha256 = sha256_file(path)
    published = published_as(sha256, cache_dir)
    model = model or published
    key = zoo.checkpoint_table()[model]["key"] if model in zoo.checkpoint_table() else None
    state = find_state(root, path, key)
    num_classes = head_classes(state) or 0
    arch = _settle_arch(model, path, sidecar, state, head=not reset_head)
    if reset_head:
        state = {k: v for k, v in state.items() if k not in HEAD}
    log.info("%s: %d tensors of %s", path, len(state), arch)
    return Checkpoint(
        name=published or model or arch,
        arch=arch,
        num_classes=num_classes,
        state=usable(state, arch, path),
        eval=_card_eval(published or model),
        labels=None,
        sha256=sha256,
        source=str(path),
        published=published is not None,
    )


def _settle_arch(
    model: str | None, path: Path, sidecar: Sidecar, state: State, *, head: bool
) -> str:
    """The architecture asked for, the sidecar's or the fitting one, proven to fit."""
    if model is None and sidecar.arch is None:
        arch = nearest_arch(state, head=head)
        if wrong := misfit(state, arch, head=head):
            raise CheckpointError(
                f"{path} fits no EdgeNeXt architecture; the nearest is {arch}: {wrong}"
            )
        return arch
    if model is None and sidecar.arch not in zoo.arch_table():
        error = unknown_name("architecture", str(sidecar.arch), zoo.arch_table())
        raise CheckpointError(f"{sidecar_path(path)} names an {error.message}", error.remedy)
    arch = _arch_name(model or str(sidecar.arch))
    if wrong := misfit(state, arch, head=head):
        nearest = nearest_arch(state, head=head)
        fits = not misfit(state, nearest, head=head)
        raise CheckpointError(
            f"{path} does not fit {arch}: {wrong}",
            f"These weights fit {nearest}" if fits else "They fit no EdgeNeXt architecture",
        )
    return arch


def _with_fresh_head(
    found: Checkpoint, path: Path, num_classes: int | None, seed: int
) -> Checkpoint:
    classes = num_classes or found.num_classes
    if not classes:
        raise CheckpointError(f"{path} has no head to count classes by", "Give the class count")
    state = found.state | fresh_head(found.arch, classes, seed)
    return replace(
        found,
        num_classes=classes,
        state=state,
        sha256=f"fresh-head:{state_sha256(state)}",
        source=f"{found.source}, fresh head of seed {seed}",
        published=False,
    )


def _check_classes(
    found: Checkpoint, path: Path, sidecar: Sidecar, num_classes: int | None, reset_head: bool
) -> None:
    if reset_head:
        return
    if num_classes not in (None, found.num_classes):
        raise CheckpointError(
            f"{path} has a head of {found.num_classes} classes, not {num_classes}",
            f"Use --reset-head for a fresh head of {num_classes}",
        )
    if sidecar.num_classes not in (None, found.num_classes):
        raise CheckpointError(
            f"{sidecar_path(path)} says {sidecar.num_classes} classes, "
            f"the head of {path.name} has {found.num_classes}",
            "Correct the JSON",
        )


def _labels(
    found: Checkpoint, sidecar: Sidecar, explicit: Path | None, reset_head: bool
) -> tuple[str, ...] | None:
    """Labels of a file, of the sidecar, or of ImageNet where the head has its 1000 classes."""
    labels, where = (read_labels(explicit), explicit) if explicit else (sidecar.labels, "sidecar")
    if labels is not None and len(labels) != found.num_classes:
        if reset_head and not explicit:  # they named the classes of the old head
            return None
        raise CheckpointError(
            f"{len(labels)} labels ({where}) for a head of {found.num_classes} classes",
            "Give one label a class, in the order of the head",
        )
    if labels is None and found.num_classes == IMAGENET_CLASSES:
        return zoo.imagenet_wnids()
    return labels
