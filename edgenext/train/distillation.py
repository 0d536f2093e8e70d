"""Distillation: a teacher's answers beside the labels, as in arXiv 2204.03475 (USI)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgenext.errors import DataError, RuntimeFailedError, UsageError
from edgenext.models.network import EdgeNeXt
from edgenext.schema import EvalTransform
from edgenext.system.files import sha256_file
from edgenext.train.hooks import Hooks, cross_entropy
from edgenext.train.recipe import TrainRecipe
from edgenext.train.timm_parts import timm_module

Logits = Callable[[Tensor], Tensor]
"""N×3×H×W in the teacher's range to N×K logits."""


class Teacher:
    """A trained network whose answers are learned.

    Args:
        name: what errors call it.
        identity: changes with its weights.
        logits: its answers, on the device of the images.
        transform: mean and deviation of its input.
        module: what has to be moved to the training's device, if anything.
        size: the only side of images that it takes; None: any.
    """

    def __init__(
        self,
        name: str,
        identity: str,
        logits: Logits,
        transform: EvalTransform,
        module: nn.Module | None = None,
        size: int | None = None,
    ) -> None:
        self.name, self.identity, self._logits = name, identity, logits
        self.transform, self.module, self.size = transform, module, size

    @torch.no_grad()
    def answers(self, x: Tensor, transform: EvalTransform) -> Tensor:
        """N×K logits for images that were normalised for the student.

        Args:
            x: N×3×H×W float32.
            transform: the student's.
        """
        if self.size and x.shape[-1] != self.size:
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        return self._logits(_renormalised(x, transform, self.transform))


def _renormalised(x: Tensor, before: EvalTransform, after: EvalTransform) -> Tensor:
    """Images normalised by one mean and deviation, for another."""
    if (before.mean, before.std) == (after.mean, after.std):
        return x

    def column(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, device=x.device)[:, None, None]

    pixels = x * column(before.std) + column(before.mean)
    return (pixels - column(after.mean)) / column(after.std)


class Distillation(Hooks):
    """Cross-entropy plus the KL divergence to the teacher's answers.

    loss = CE(student, label) + weight · T² · KL(teacher/T ‖ student/T), with the recipe's
    `distill_weight` and `distill_temperature`; the teacher sees the same, augmented images.

    Args:
        teacher: with the classes of the student, in the same order.
        transform: how the student's images are normalised.
    """

    def __init__(self, teacher: Teacher, transform: EvalTransform) -> None:
        self.teacher, self._transform = teacher, transform
        self.identity = f"teacher:{teacher.identity}"

    def prepare(self, network: EdgeNeXt, device: torch.device) -> None:
        """Move the teacher to the device, and ask it once.

        Raises:
            DataError: it has other classes.
        """
        if self.teacher.module is not None:
            self.teacher.module.to(device)
        side = self._transform.size
        answers = self.teacher.answers(
            torch.zeros(1, 3, side, side, device=device), self._transform
        )
        if answers.shape[1] != network.num_classes:
            raise DataError(
                f"the teacher {self.teacher.name} has {answers.shape[1]} classes, the network "
                f"{network.num_classes}",
                "Take a teacher of the same classes in the same order",
            )

    def loss(self, model: nn.Module, x: Tensor, target: Tensor, recipe: TrainRecipe) -> Tensor:
        """As `Hooks.loss`."""
        answers = self.teacher.answers(x, self._transform)
        logits = model(x)
        t = recipe.distill_temperature
        divergence = F.kl_div(
            F.log_softmax(logits.float() / t, 1),
            F.log_softmax(answers.float() / t, 1),
            reduction="batchmean",
            log_target=True,
        )
        entropy = cross_entropy(logits, target, recipe)
        return entropy + recipe.distill_weight * t * t * divergence


def timm_teacher(name: str, classes: int, weights: Path | None = None) -> Teacher:
    """A model of timm, with its published weights or those of a file.

    Args:
        name: as timm calls it, such as `resnet50`.
        classes: outputs of its head.
        weights: a state dict; None: timm's, from its cache or the network.

    Raises:
        UsageError: timm has no such model.
        RuntimeFailedError: its weights cannot be had.
        MissingDependencyError: timm is not installed.
    """
    timm = timm_module("timm")
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}", "`timm.list_models()` lists them")
    options: dict[str, Any] = {"num_classes": classes} if weights else {}
    try:
        module: nn.Module = timm.create_model(
            name, pretrained=weights is None, checkpoint_path=str(weights or ""), **options
        )
    except Exception as e:  # timm, its hub and torch raise anything
        raise RuntimeFailedError(f"the teacher {name} cannot be loaded: {e}") from e
    module = module.eval().requires_grad_(False)
    config: dict[str, Any] = module.pretrained_cfg  # type: ignore[assignment]
    transform = EvalTransform(mean=tuple(config["mean"]), std=tuple(config["std"]))
    identity = sha256_file(weights) if weights else state_digest(module)
    return Teacher(f"timm/{name}", identity, module, transform, module)


def network_teacher(
    network: EdgeNeXt, name: str, identity: str, transform: EvalTransform
) -> Teacher:
    """A network of this package."""
    network = network.eval().requires_grad_(False)
    return Teacher(name, identity, network, transform, network)


def onnx_teacher(path: Path, transform: EvalTransform) -> Teacher:
    """An ONNX file with one input and one output, run by onnxruntime on the CPU.

    Raises:
        RuntimeFailedError: onnxruntime does not take it.
        UsageError: it does not take N×3×H×W float32, or not one image size.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as e:  # onnxruntime's exceptions share no public base class
        raise RuntimeFailedError(f"the teacher {path} cannot be loaded: {e}") from e
    (spec,) = session.get_inputs()[:1]
    if spec.type != "tensor(float)" or len(spec.shape) != 4:
        raise UsageError(f"the teacher {path} takes {spec.type}{spec.shape}, not N×3×H×W float32")
    batch, side = spec.shape[0], spec.shape[3]

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {spec.name: images.numpy()})[0])

    def logits(x: Tensor) -> Tensor:
        images = x.detach().float().cpu().contiguous()
        parts = torch.split(images, batch) if isinstance(batch, int) else (images,)
        return torch.cat([run(part) for part in parts]).to(x.device)

    if isinstance(batch, int) and batch != 1:
        raise UsageError(f"the teacher {path} takes batches of {batch} alone", "Export it for any")
    size = side if isinstance(side, int) else None
    return Teacher(path.name, sha256_file(path), logits, transform, size=size)


def state_digest(module: nn.Module) -> str:
    """The sha256 of a network's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
