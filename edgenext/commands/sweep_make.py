"""The job of a sweep that makes a file; it alone needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgenext.commands.context import Context
from edgenext.commands.export import export_on
from edgenext.commands.quantize import own_quantization, quantize_on
from edgenext.commands.subject import Subject
from edgenext.commands.sweep_images import ListedImages
from edgenext.export.settings import float_settings
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import ModelOptions, QuantizeOptions
from edgenext.schema import Record, TreeFile
from edgenext.system.jobs.job import JobInputs
from edgenext.targets.scheme import FLOAT

MAKE = f"{__name__}:make"
"""The function of the job, by name."""

Tree = Callable[[str], Path]


class MakeRequest(Record):
    """A file to make: of which network, for which target, from which images.

    `weights` and `labels` stand for those of `options`, which are paths elsewhere.
    """

    model: str
    options: ModelOptions
    weights: TreeFile | None
    labels: TreeFile | None
    scheme: str
    target: str
    seed: int
    images: ListedImages


def make(inputs: JobInputs) -> dict[str, Any]:
    """Make a file: the fields of `MadeArtifact` but its tree.

    Raises:
        EdgenextError: whatever `export` and `quantize` raise.
    """
    request = MakeRequest.model_validate(inputs.arguments)
    images, context = request.images.load(), Context()
    checkpoint = _checkpoint(request, context, inputs.tree)
    if request.scheme == FLOAT:
        settings = float_settings(request.target)
        artifact = export_on(checkpoint, settings, images, inputs.out, context)
    else:
        options = QuantizeOptions(request.scheme, request.target, seed=request.seed)
        subject = Subject(checkpoint=checkpoint)
        artifact = quantize_on(subject, own_quantization(options), images, inputs.out, context)
    return {"file": artifact.path.name}


def _checkpoint(request: MakeRequest, context: Context, tree: Tree) -> Checkpoint:
    files = {name: getattr(request, name) for name in ("weights", "labels")}
    paths = {name: tree(file.tree) / file.file for name, file in files.items() if file}
    return context.checkpoint(request.model, replace(request.options, **paths))
