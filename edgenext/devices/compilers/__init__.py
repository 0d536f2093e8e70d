"""What vendors' compilers say of a file, without a device: one module a target."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from edgenext.errors import ArtifactError, UsageError
from edgenext.graph.targets import require_target

if TYPE_CHECKING:
    from edgenext.artifact import Artifact
    from edgenext.schema import CheckReport


@dataclass(frozen=True)
class Compiler:
    """Who is asked about a target: the function that does, and the formats it takes."""

    function: str
    formats: tuple[str, ...]
    make: str
    """How a file for the target is made."""


_HERE = "edgenext.devices.compilers"

COMPILERS = {
    "jetson": Compiler(
        f"{_HERE}.tensorrt:check", ("tensorrt", "onnx"), "edgenext export --format tensorrt"
    ),
    "htp": Compiler(
        f"{_HERE}.htp:check", ("onnx", "qnn-context"), "edgenext quantize --target htp"
    ),
    "coreml": Compiler(f"{_HERE}.coreml:check", ("coreml",), "edgenext export --format coreml"),
    "ethos-u": Compiler(
        f"{_HERE}.ethos_u:check", ("tflite",), "edgenext quantize --target ethos-u"
    ),
    "tflite": Compiler(f"{_HERE}.local:tflite", ("tflite",), "edgenext export --format tflite"),
    "executorch": Compiler(
        f"{_HERE}.local:executorch", ("executorch",), "edgenext export --format executorch"
    ),
    "cpu-onnxruntime": Compiler(
        f"{_HERE}.local:onnxruntime", ("onnx", "tensorrt"), "edgenext export --format onnx"
    ),
    "cpu-openvino": Compiler(
        f"{_HERE}.local:openvino", ("openvino", "onnx"), "edgenext export --format openvino"
    ),
}
"""Target → who is asked: one row each."""


def check(artifact: Artifact, target: str = "", **options: str) -> CheckReport:
    """Whether a vendor accepts a file, where every operator lands and why.

    Args:
        artifact: a checked artifact.
        target: who is asked; the artifact's own target unless given.
        options: of the target's module, by name, such as `soc`; empty ones are left out.

    Raises:
        UsageError: no such target, or an option that is not the target's.
        ArtifactError: a format that the target does not take.
        MissingDependencyError: the vendor's package is not installed.
        RuntimeFailedError: the vendor's code died.
    """
    target = target or artifact.manifest.target
    require_target(target)
    if target not in COMPILERS:
        raise UsageError(f"nobody can be asked about {target} yet")
    compiler = COMPILERS[target]
    if artifact.manifest.format not in compiler.formats:
        raise ArtifactError(
            f"{target} takes {' or '.join(compiler.formats)}, and {artifact.path.name} is "
            f"{artifact.manifest.format}",
            f"Make one with `{compiler.make}`",
        )
    given = {name: value for name, value in options.items() if value}
    module, _, name = compiler.function.partition(":")
    function = getattr(import_module(module), name)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    known = [parameter.name for parameter in parameters]
    for option in given:
        if option not in known and not any(p.kind is p.VAR_KEYWORD for p in parameters):
            remedy = f"It has {', '.join(known)}" if known else "Leave it out"
            raise UsageError(f"{target} has no option {option}", remedy)
    report: CheckReport = function(artifact, **given)
    return report
