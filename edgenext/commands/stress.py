"""Write an exact twin of a model that is hard to quantize."""

from __future__ import annotations

import json
from pathlib import Path

from edgenext.commands.context import Context
from edgenext.errors import UsageError
from edgenext.graph.stress import rescaled_twin
from edgenext.models.sidecar import sidecar_path
from edgenext.options import MODEL, ModelOptions
from edgenext.system.files import atomic_path

MAX_STRENGTH = 16
"""Beyond, float32 no longer computes the same function."""


def stress(
    model: str | None = None,
    model_options: ModelOptions = MODEL,
    *,
    out: Path = Path("twin.safetensors"),
    seed: int = 0,
    strength: float = 3.0,
    context: Context | None = None,
) -> Path:
    """Write an exactly rescaled twin of a model, and its sidecar: see `edgenext stress`.

    Args:
        model: name; None for the one that the weights fit.
        model_options: where the weights come from.
        out: the .safetensors file to write.
        seed: of the channels' factors.
        strength: factors are powers of two, up to 2 to ±strength.
        context: what was loaded before.

    Raises:
        UsageError: another kind of file, or a strength outside 0 to 16.
        OutputError: the file cannot be written.

    >>> model = ModelOptions(random_weights=True, num_classes=10, size=32)
    >>> stress("edgenext_xx_small", model)
    PosixPath('twin.safetensors')
    """
    import safetensors.torch

    if out.suffix != ".safetensors":
        raise UsageError(f"a twin is written as .safetensors, not {out.name}", "Change -o")
    if not 0 <= strength <= MAX_STRENGTH:
        raise UsageError(
            f"channels cannot be scaled by up to 2^{strength:g}", f"Use 0 to {MAX_STRENGTH}"
        )
    context = context or Context()
    checkpoint = context.checkpoint(model, model_options)
    context.progress("rescaling channels", 0, 0)
    twin = rescaled_twin(checkpoint.network(), seed, strength)
    facts = {
        "arch": checkpoint.arch,
        "num_classes": checkpoint.num_classes,
        "eval": checkpoint.eval.model_dump(mode="json"),
        "labels": checkpoint.labels,
        "class_names": checkpoint.class_names,
        "stressed": {"from": checkpoint.sha256, "seed": seed, "strength": strength},
    }
    state = {k: v.contiguous() for k, v in twin.state_dict().items()}
    with atomic_path(sidecar_path(out)) as beside, atomic_path(out) as temporary:
        beside.write_text(json.dumps(facts, indent=1) + "\n")
        temporary.write_bytes(safetensors.torch.save(state, {"format": "pt"}))
    return out
