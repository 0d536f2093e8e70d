"""State dicts: extraction from a file's content, published names, comparison with a network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenext.errors import CheckpointError
from edgenext.models.timm_names import is_timm, published_name
from edgenext.models.zoo import IMAGENET_CLASSES, MAX_CLASSES, arch_table, create_model

if TYPE_CHECKING:
    from torch import Tensor

State = dict[str, "Tensor"]
Shapes = dict[str, tuple[int, ...]]

KEYS = ("model_ema", "state_dict_ema", "state_dict", "model")
"""Keys of weights in checkpoints, best first: the published weights are the averaged ones."""
HEAD = ("head.weight", "head.bias")
CLASSIFIER = ("norm.", "head.")
"""Where the names of everything begin that a classifier has behind its backbone."""
COUNTER = "num_batches_tracked"
"""Last part of the name of a batch norm's counter: int64, not used by inference."""
MAX_LISTED = 5
"""Names listed in an error; of the rest only the number is given."""


def find_state(root: Any, path: Path, key: str | None = None) -> State:
    """The tensors in a file's root object, under the published names.

    Args:
        root: a state dict, or a checkpoint that has one under one of `KEYS`.
        path: the file, for messages.
        key: the key to try first.

    Raises:
        CheckpointError: there is no state dict.
    """
    if not isinstance(root, Mapping):
        raise CheckpointError(f"{path} contains a {type(root).__name__} instead of weights")
    state = next((s for k in (key, *KEYS) if (s := _tensors(root.get(k)))), None) or _tensors(root)
    if not state:
        raise CheckpointError(
            f"{path} has no weights under the keys {', '.join(KEYS)}",
            f"It has the keys {list_names(map(str, root))}" if root else "It is an empty dict",
        )
    state = _strip_prefixes(state)
    if unusable := [name for name, tensor in state.items() if not _is_stored(tensor)]:
        raise CheckpointError(
            f"{path} has tensors that are larger than what is stored of them: "
            f"{list_names(unusable)}"
        )
    if (classes := head_classes(state) or 0) > MAX_CLASSES:
        raise CheckpointError(f"{path} has a head of {classes} classes, more than {MAX_CLASSES}")
    return {published_name(k): v for k, v in state.items()} if is_timm(state) else state


def _tensors(candidate: Any) -> State | None:
    """`candidate` if it is a state dict, which maps names to tensors only, with at least one."""
    import torch

    if not isinstance(candidate, Mapping) or not candidate:
        return None
    tensors = all(isinstance(v, torch.Tensor) for v in candidate.values())
    return dict(candidate) if tensors and all(isinstance(k, str) for k in candidate) else None


def _strip_prefixes(state: State) -> State:
    """Remove the prefixes that data parallelism, compilation and weight averaging add to names."""
    state = {k: v for k, v in state.items() if k != "n_averaged"}
    while state:
        first = next(iter(state))
        prefix = re.match(r"(module|_orig_mod|model|model_ema|ema)\.", first)
        if not prefix or not all(k.startswith(prefix[0]) for k in state):
            break
        state = {k.removeprefix(prefix[0]): v for k, v in state.items()}
    return state


@cache
def arch_shapes(arch: str, num_classes: int = IMAGENET_CLASSES) -> Shapes:
    """Published names and shapes of an architecture's parameters and buffers, in order."""
    import torch

    with torch.device("meta"):  # nothing is allocated or drawn
        network = create_model(arch, num_classes)
    return {k: tuple(v.shape) for k, v in network.state_dict().items()}


@dataclass(frozen=True)
class StateMismatch:
    """How a state dict differs from an architecture: names of tensors, and unequal shapes."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    shapes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.shapes)

    def __str__(self) -> str:
        parts = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.shapes,
        }
        return "; ".join(f"{len(v)} {k} ({list_names(v)})" for k, v in parts.items() if v)


def mismatch(state: State, arch: str, *, without: tuple[str, ...] = ()) -> StateMismatch:
    """How a state dict differs from an architecture.

    Args:
        state: under the published names.
        arch: the architecture.
        without: where the names begin of tensors that need not be there: `HEAD` for a network that
            will get a fresh head, `CLASSIFIER` for a backbone.
    """
    shapes = arch_shapes(arch, head_classes(state) or IMAGENET_CLASSES)
    names = [k for k in shapes if not k.startswith(without)]
    return StateMismatch(
        missing=tuple(k for k in names if k not in state and not k.endswith(COUNTER)),
        unexpected=tuple(k for k in state if k not in shapes),
        shapes=tuple(
            f"{k}: {_dims(state[k].shape)}, not {_dims(shapes[k])}"
            for k in names
            if k in state and tuple(state[k].shape) != shapes[k]
        ),
    )


def nearest_arch(state: State, *, without: tuple[str, ...] = ()) -> str:
    """The architecture that a state dict fits, or from which it differs in the fewest tensors."""
    return min(arch_table(), key=lambda arch: len(mismatch(state, arch, without=without)))


def head_classes(state: State) -> int | None:
    """The number of outputs of the head; None if the state dict has no head."""
    weight = state.get("head.weight")
    return weight.shape[0] if weight is not None and weight.ndim == 2 and len(weight) else None


def float32_state(state: State, arch: str, path: Path) -> State:
    """Copies of the tensors of a matching state dict: float32, in the network's order.

    Raises:
        CheckpointError: a tensor is not a plain floating-point one, or not finite.
    """
    import torch

    num_classes = head_classes(state) or IMAGENET_CLASSES
    unsupported = [k for k, v in state.items() if not k.endswith(COUNTER) and not _is_plain(v)]
    if unsupported:
        raise CheckpointError(
            f"{path} has tensors that are not plain floats: {list_names(unsupported)}"
        )
    out: State = {}
    for name in arch_shapes(arch, num_classes):
        if name.endswith(COUNTER):
            # Old versions of torch saved batch norms without a counter.
            count = state.get(name)
            out[name] = torch.zeros((), dtype=torch.int64) if count is None else count.long()
        elif name in state:
            out[name] = state[name].detach().to(torch.float32, copy=True).contiguous()
    invalid = [k for k, v in out.items() if not torch.isfinite(v).all()]
    if invalid:
        raise CheckpointError(
            f"{path} has NaN or infinite values in {len(invalid)} tensors: {list_names(invalid)}",
            "Its training diverged, or the file is damaged",
        )
    return out


def _is_stored(tensor: Tensor) -> bool:
    """Whether all elements of a tensor are in the file: a stride of 0 can claim any size."""
    import torch

    if tensor.is_nested:
        return False
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return True  # refused by `float32_state`
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _is_plain(tensor: Tensor) -> bool:
    import torch

    return (
        tensor.is_floating_point()
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
    )


def _dims(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def list_names(names: Iterable[str]) -> str:
    """The first names, separated by commas, and how many more there are."""
    names = list(names)
    more = len(names) - MAX_LISTED
    return ", ".join(names[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
