"""Where a training computes, and how: device, precision, compilation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from edgenext.errors import EdgenextError, UsageError, unknown_name
from edgenext.options import ACCELERATORS
from edgenext.train.recipe import TrainRecipe

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class TrainSettings:
    """What decides how fast a training is, and which files it leaves, but not its weights.

    Weights are the same bit for bit on the CPU of one machine; other machines, thread counts and
    GPUs round sums otherwise.
    """

    accelerator: str = "auto"
    """`auto`: a GPU if there is one, then Apple's, else the CPU."""
    workers: int | None = None
    """Processes that decode photographs; None: one a processor, at most 8; 0: the training's."""
    compile: bool = False
    """Compile the network by `torch.compile`."""
    keep: int = 0
    """Checkpoints of earlier epochs that stay, besides the last one."""
    checkpoint_minutes: float = 10.0
    """How often the state is saved within an epoch; 0: at its end alone."""
    tensorboard: bool = False
    """Write TensorBoard's event files."""


DEFAULT_SETTINGS = TrainSettings()


def resolve_device(accelerator: str, local_rank: int = 0) -> torch.device:
    """The device that a name means.

    Raises:
        UsageError: unknown name, or there is no such device here.
    """
    if accelerator not in ACCELERATORS:
        raise unknown_name("accelerator", accelerator, ACCELERATORS)
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _has_mps()}
    if accelerator == "auto":
        accelerator = next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available[accelerator]:
        raise UsageError(
            f"there is no {accelerator} device that this build of torch ({torch.__version__}) can "
            "use",
            "Use --accelerator auto",
        )
    if accelerator == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise UsageError(
                f"there are {torch.cuda.device_count()} GPUs, too few for process {local_rank} of "
                "this machine",
                "Start as many processes as there are GPUs",
            )
        torch.cuda.set_device(local_rank)
        return torch.device("cuda", local_rank)
    return torch.device(accelerator)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


class Precision:
    """Automatic mixed precision: the forward pass, and the gradients' scale."""

    def __init__(self, recipe: TrainRecipe, device: torch.device) -> None:
        self._dtype = AUTOCAST.get(recipe.precision)
        self._device = device.type
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """A block whose matrix products are in the recipe's precision."""
        if self._dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._device, self._dtype)


@contextlib.contextmanager
def enough_memory(recipe: TrainRecipe) -> Iterator[None]:
    """A block in which a failed allocation says how to need less.

    Raises:
        EdgenextError: memory was exhausted.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as e:
        text = str(e)
        exhausted = isinstance(e, MemoryError | torch.OutOfMemoryError)
        if not exhausted and "memory" not in text and "DefaultCPUAllocator" not in text:
            raise
        raise EdgenextError(
            f"there is not enough memory for batches of {recipe.batch_size}: "
            f"{text.splitlines()[0][:200] if text else type(e).__name__}",
            f"Halve the batch and double the accumulation: --batch-size "
            f"{max(recipe.batch_size // 2, 1)} --accumulate {recipe.accumulate * 2}",
        ) from e


def channels_last(network: nn.Module, device: torch.device) -> nn.Module:
    """The network on a device, in the layout that halves the time of a step on CPUs."""
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
