"""What a Core ML package that others made says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgenext.errors import ArtifactError
from edgenext.formats.coreml.program import MilProgram
from edgenext.formats.foreign import ForeignFile, Port, image_facts
from edgenext.schema import LOGITS

VERSION = "com.github.apple.coremltools.version"
"""Where coremltools writes its version."""
PALETTES = "constexpr_lut_to_dense"
"""The operator that reads weights from a palette."""


def describe(package: Path) -> ForeignFile:
    """Inputs, outputs, operators and metadata of a package.

    Raises:
        ArtifactError: it is not a complete package of an ML program.
        MissingDependencyError: coremltools is not installed.
    """
    program = MilProgram(package)
    about = image_facts(program.metadata)
    return ForeignFile(
        inputs=tuple(_input(program, name) for name in program.inputs),
        outputs=_outputs(program),
        scheme=_scheme(program),
        producer=f"coremltools {program.metadata.get(VERSION, '')}".strip(),
        about=about.model_copy(update={"labels": program.classes or about.labels}),
    )


def _input(program: MilProgram, name: str) -> Port:
    shape, dtype = program.inputs[name]
    sides = _sides(shape)
    if name not in program.images:
        return Port(name=name, shape=sides, dtype=str(dtype).removeprefix("torch."))
    if program.images[name] not in ("RGB", "BGR"):
        raise ArtifactError(f"{program.name}: its input {name} is a grey image, not one in colours")
    rows, colours, height, width = sides
    return Port(name=name, shape=(rows, height, width, colours), dtype="uint8")


def _sides(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """The axes of a tensor; free ones are symbols."""
    return tuple(int(side) if isinstance(side, int) else -1 for side in shape)


def _outputs(program: MilProgram) -> tuple[Port, ...]:
    """The outputs of a program; of a classifier its logits."""
    if program.classes:
        return (Port(name=LOGITS, shape=(1, len(program.classes)), dtype="float32"),)
    return tuple(
        Port(name=name, shape=_sides(shape), dtype="float32")
        for name, shape in zip(program.outputs, program.output_shapes, strict=True)
    )


def _scheme(program: MilProgram) -> str:
    """What is quantized, by operators and the types of the input."""
    if "quantize" in program.operators():
        return "w8a8-static"
    if PALETTES in program.decompresses:
        return "w6-palettized"
    if program.decompresses:
        return "w8-weight-only"
    return "fp16" if program.computes_half else "fp32"
