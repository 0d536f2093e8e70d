"""The teacher of a distillation, by what a user calls it."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.commands.subject import WEIGHT_ENDINGS
from edgenext.errors import InputError, UsageError
from edgenext.formats.artifact import is_artifact, open_artifact
from edgenext.models.checkpoint import load_checkpoint
from edgenext.schema import EvalTransform

if TYPE_CHECKING:
    from edgenext.train.distillation import Teacher
    from edgenext.train.hooks import Hooks

_log = logging.getLogger(__name__)

TIMM = "timm/"
"""How the name of a teacher from timm begins."""


def open_teacher(name: str, classes: int, *, weights: Path | None = None) -> Teacher:
    """A network to learn from.

    Args:
        name: a weights file of an EdgeNeXt; `timm/NAME`; or an ONNX file, whose images are
            normalised as its manifest says, or as for ImageNet.
        classes: of the network that is trained.
        weights: of a teacher from timm; None: those that timm has for it.

    Raises:
        UsageError: none of these.
        InputError, RuntimeFailedError: it cannot be loaded.
        MissingDependencyError: timm is not installed.

    >>> open_teacher("resnet50", 1000)
    Traceback (most recent call last):
    edgenext.errors.UsageError: 'resnet50' is no teacher. Give a weights file, an ONNX file, or...
    """
    from edgenext.train.distillation import network_teacher, onnx_teacher, timm_teacher

    if name.startswith(TIMM):
        return timm_teacher(name.removeprefix(TIMM), classes, weights)
    if weights is not None:
        raise UsageError("--teacher-weights is for a teacher from timm", "Use --teacher timm/NAME")
    path = Path(name)
    if path.suffix == ".onnx":
        return onnx_teacher(path, _transform(path))
    if path.suffix in WEIGHT_ENDINGS:
        checkpoint = load_checkpoint(None, path)
        return network_teacher(checkpoint.network(), path.name, checkpoint.sha256, checkpoint.eval)
    raise UsageError(
        f"{name!r} is no teacher",
        "Give a weights file, an ONNX file, or timm/NAME for a timm model",
    )


def _transform(path: Path) -> EvalTransform:
    if is_artifact(path) and path.with_name(f"{path.name}.json").is_file():
        return open_artifact(path).manifest.eval
    _log.warning("%s has no manifest: its images are normalised as for ImageNet", path.name)
    return EvalTransform()


def open_hooks(name: str) -> Hooks:
    """The hooks of a training, from a Python file of the user's own.

    Args:
        name: `file.py:Class`, a subclass of `Hooks` whose objects are made without arguments.

    Raises:
        UsageError: not such a name, no such class, or no subclass of `Hooks`.
        InputError: the file cannot be imported.
    """
    from edgenext.train.hooks import Hooks

    file, _, name_of_class = name.rpartition(":")
    if not file.endswith(".py") or not name_of_class:
        raise UsageError(f"{name!r} names no hooks", "Use --hooks file.py:Class")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None or not Path(file).is_file():
        raise InputError(f"cannot read the hooks of {file}: no such file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as e:  # the user's own code
        raise InputError(f"{file} cannot be imported: {type(e).__name__}: {e}") from e
    hooks = getattr(module, name_of_class, None)
    if not (isinstance(hooks, type) and issubclass(hooks, Hooks)):
        raise UsageError(f"{file} has no class {name_of_class} that is a subclass of Hooks")
    return hooks()
