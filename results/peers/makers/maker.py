"""What every maker shares: it runs in the other tool's environment, with numpy and that tool alone.

A maker is a function that gets a job (plain JSON: the fields of `rival_inputs.Inputs`, `out` and
`options`), writes the file `out`, and returns the call that it made, as text. One that names its
file itself returns its path, too.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import numpy as np
from numpy.typing import NDArray


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Call the maker that the job names.

    Returns:
        `call`; `file`, its path; `versions` of the packages that the job names; `children_mb`, the
        peak memory of the largest process that it has started, in MiB.
    """
    module, _, name = job["make"].partition(":")
    result: str | tuple[str, Path] = getattr(import_module(module), name)(job)
    call, file = (result, Path(job["out"])) if isinstance(result, str) else result
    if not file.exists():
        raise RuntimeError(f"Error: {call} wrote no file")
    return {
        "call": call,
        "file": str(file),
        "versions": _versions(job["packages"]),
        "children_mb": getrusage(RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


def _versions(packages: list[str]) -> dict[str, str]:
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def batches(job: dict[str, Any], name: str = "samples") -> list[NDArray[np.float32]]:
    """Images as the network takes them, each 1×3×H×W float32, normalised."""
    images: NDArray[np.float32] = np.load(job[name])
    # a new axis by indexing would have a stride of 0, which some tools keep and refuse later
    return list(images.reshape(len(images), 1, *images.shape[1:]))


def network(job: dict[str, Any]) -> Any:
    """The PyTorch network with its weights, in evaluation mode."""
    import torch

    from edgenext.models.zoo import create_model

    model = create_model(job["arch"], job["num_classes"])
    model.load_state_dict(torch.load(job["weights"], weights_only=True))
    return model.eval()
