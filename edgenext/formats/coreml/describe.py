"""What a Core ML package that others made says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgenext.errors import ArtifactError
from edgenext.formats.coreml.program import MilProgram, read_program
from edgenext.formats.foreign import ForeignFile, ImageFacts, Port, image_facts

WEIGHTS = {
    "constexpr_affine_dequantize": "w8-weight-only",
    "constexpr_blockwise_shift_scale": "w8-weight-only",
}
"""Operators that decompress weights → the scheme."""
VERSION = "com.github.apple.coremltools.version"
"""Where coremltools writes its version."""


def describe(package: Path) -> ForeignFile:
    """Inputs, outputs, operators and metadata of a package.

    Raises:
        ArtifactError: it is not a complete package of an ML program.
        MissingDependencyError: coremltools is not installed.
    """
    spec, main = read_program(package)
    program = MilProgram(package)
    return ForeignFile(
        inputs=tuple(_input(program, name) for name in program.inputs),
        outputs=_outputs(program, main),
        scheme=_scheme(main),
        producer=f"coremltools {spec.description.metadata.userDefined.get(VERSION, '')}".strip(),
        about=_about(program, spec),
    )


def _input(program: MilProgram, name: str) -> Port:
    shape, dtype = program.inputs[name]
    sides = tuple(side if isinstance(side, int) else -1 for side in map(_side, shape))
    if name not in program.images:
        return Port(name=name, shape=sides, dtype=str(dtype).removeprefix("torch."))
    if program.images[name] not in ("RGB", "BGR"):
        raise ArtifactError(f"{program.name}: its input {name} is a grey image, not one in colours")
    rows, colours, height, width = sides
    return Port(name=name, shape=(rows, height, width, colours), dtype="uint8")


def _side(side: Any) -> int | None:
    """The size of an axis; None where it is free, a symbol."""
    return int(side) if isinstance(side, int) or hasattr(side, "item") else None


def _outputs(program: MilProgram, main: Any) -> tuple[Port, ...]:
    """The outputs of a program; of a classifier its probabilities."""
    if program.classes:
        return (Port(name="logits", shape=(1, len(program.classes)), dtype="float32"),)
    return tuple(
        Port(
            name=output.name,
            shape=tuple(-1 if (n := _side(side)) is None else n for side in output.shape),
            dtype="float32",
        )
        for output in main.outputs
    )


def _about(program: MilProgram, spec: Any) -> ImageFacts:
    """What the package's own metadata says; a classifier's labels are its classes."""
    about = image_facts(dict(spec.description.metadata.userDefined))
    return about.model_copy(update={"labels": program.classes or about.labels})


def _scheme(main: Any) -> str:
    """What is quantized, by operators and the types of constants."""
    operators = {op.op_type for op in main.operations}
    if "quantize" in operators:
        return "w8a8-static"
    if operators & {"constexpr_lut_to_dense"}:
        return "w6-palettized"
    for operator, scheme in WEIGHTS.items():
        if operator in operators:
            return scheme
    types = {op.outputs[0].dtype.__name__ for op in main.operations if op.op_type == "conv"}
    return "fp16" if "fp16" in types else "fp32"
