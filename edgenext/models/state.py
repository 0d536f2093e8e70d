"""State dicts: found in a file's content, brought to the published names, fitted to a network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenext.errors import CheckpointError
from edgenext.models.timm_names import is_timm, published_name
from edgenext.models.zoo import arch_table, create_model

if TYPE_CHECKING:
    from torch import Tensor

State = dict[str, "Tensor"]
Shapes = dict[str, tuple[int, ...]]

KEYS = ("model_ema", "state_dict_ema", "state_dict", "model")
"""Where checkpoints keep their weights, best first: averaged weights are the ones published."""
HEAD = ("head.weight", "head.bias")
COUNTER = "num_batches_tracked"
"""The last part of a batch norm's counter's name: int64, and of no use to inference."""
SHOWN = 5


def find_state(root: Any, path: Path, key: str | None = None) -> State:
    """The tensors in a file's root object, under the published names.

    Args:
        root: a state dict, or a checkpoint that holds one under one of `KEYS`.
        path: the file, for messages.
        key: the key to look under first.

    Raises:
        CheckpointError: there is no state dict.
    """
    if not isinstance(root, Mapping):
        raise CheckpointError(f"{path} holds no weights but a {type(root).__name__}")
    state = next((s for k in (key, *KEYS) if (s := _tensors(root.get(k)))), None) or _tensors(root)
    if not state:
        raise CheckpointError(
            f"{path} holds no weights under {', '.join(KEYS)}",
            f"It has {listing(map(str, root))}" if root else "It is an empty dict",
        )
    state = _strip_prefixes(state)
    return {published_name(k): v for k, v in state.items()} if is_timm(state) else state


def _tensors(candidate: Any) -> State | None:
    """`candidate` if it is a state dict: names and nothing but tensors, at least one."""
    import torch

    if not isinstance(candidate, Mapping) or not candidate:
        return None
    tensors = all(isinstance(v, torch.Tensor) for v in candidate.values())
    return dict(candidate) if tensors and all(isinstance(k, str) for k in candidate) else None


def _strip_prefixes(state: State) -> State:
    """Take away what data parallelism, compiling and weight averaging put before every name."""
    state = {k: v for k, v in state.items() if k != "n_averaged"}
    while state:
        first = next(iter(state))
        found = re.match(r"(module|_orig_mod|model|model_ema|ema)\.", first)
        if not found or not all(k.startswith(found[0]) for k in state):
            break
        state = {k.removeprefix(found[0]): v for k, v in state.items()}
    return state


@cache
def arch_shapes(arch: str, num_classes: int = 1000) -> Shapes:
    """Published names and shapes of an architecture's parameters and buffers, in their order."""
    import torch

    with torch.device("meta"):  # nothing is allocated or drawn
        network = create_model(arch, num_classes)
    return {k: tuple(v.shape) for k, v in network.state_dict().items()}


@dataclass(frozen=True)
class Misfit:
    """Why a state dict is not one of an architecture: names, and shapes as found and wanted."""

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
        return "; ".join(f"{len(v)} {k} ({listing(v)})" for k, v in parts.items() if v)


def misfit(state: State, arch: str, *, head: bool = True) -> Misfit:
    """How a state dict differs from an architecture; `head` says whether the head counts."""
    wanted = arch_shapes(arch, head_classes(state) or 1000)
    names = [k for k in wanted if head or k not in HEAD]
    extra = [k for k in state if k not in wanted]
    return Misfit(
        tuple(k for k in names if k not in state and not k.endswith(COUNTER)),
        tuple(extra),
        tuple(
            f"{k}: {_dims(state[k].shape)}, not {_dims(wanted[k])}"
            for k in names
            if k in state and tuple(state[k].shape) != wanted[k]
        ),
    )


def nearest_arch(state: State, *, head: bool = True) -> str:
    """The architecture a state dict fits, or differs from in the fewest tensors."""
    return min(arch_table(), key=lambda arch: len(misfit(state, arch, head=head)))


def head_classes(state: State) -> int | None:
    """Outputs of the head, if the state dict has one."""
    weight = state.get("head.weight")
    return weight.shape[0] if weight is not None and weight.ndim == 2 and len(weight) else None


def usable(state: State, arch: str, path: Path) -> State:
    """Copies of the tensors of a state dict that fits, float32, in the network's order.

    Raises:
        CheckpointError: a tensor that is not plain floating point, or not finite.
    """
    import torch

    num_classes = head_classes(state) or 1000
    odd = [k for k, v in state.items() if not k.endswith(COUNTER) and not _is_plain(v)]
    if odd:
        raise CheckpointError(f"{path} has tensors that are not plain floats: {listing(odd)}")
    out: State = {}
    for name in arch_shapes(arch, num_classes):
        if name.endswith(COUNTER):
            # Batch norms saved by old versions of torch have no counter.
            count = state.get(name)
            out[name] = torch.zeros((), dtype=torch.int64) if count is None else count.long()
        elif name in state:
            out[name] = state[name].detach().to(torch.float32, copy=True).contiguous()
    broken = [k for k, v in out.items() if not torch.isfinite(v).all()]
    if broken:
        raise CheckpointError(
            f"{path} has NaN or infinite values in {len(broken)} tensors: {listing(broken)}",
            "The training that wrote it diverged, or the file is damaged",
        )
    return out


def _is_plain(tensor: Tensor) -> bool:
    import torch

    return (
        tensor.is_floating_point()
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
    )


def _dims(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def listing(names: Iterable[str]) -> str:
    """The first few of many names."""
    names = list(names)
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
