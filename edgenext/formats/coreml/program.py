"""The ML program of a Core ML package, run operator by operator.

A reference, not a simulator. Every operator computes in float32 from inputs as the program stores
them, and its result is rounded to the type the program declares for it. For fp16 operators that
is what a device with float32 accumulators does at best: one that accumulates in fp16, or that
fuses operators and so rounds less often, differs in the last bits.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgenext.errors import ArtifactError, RuntimeFailedError
from edgenext.formats.coreml.arguments import Arguments, Op, Value
from edgenext.formats.coreml.ops import OPS
from edgenext.formats.session import needed

DTYPES = {
    "bool": torch.bool,
    "fp16": torch.float16,
    "fp32": torch.float32,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
}
"""MIL's names of types that a result can have; results of others stay as they are."""

TRANSPARENT = ("cast", "expand_dims", "identity", "reshape", "squeeze")
"""Operators that stand between a softmax and the classifier without changing a value."""


@contextlib.contextmanager
def warnings_hidden() -> Iterator[None]:
    """Keep to itself what coremltools logs below an error, and what it imports: torchao does too.

    It says at every import that this is not macOS and which versions it has not been tested with.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def preload() -> Any:
    """The `coremltools` package, imported.

    Raises:
        MissingDependencyError: it is not installed.
    """
    with needed("coremltools", "coreml"), warnings_hidden():
        import coremltools
        import coremltools.converters.mil.frontend.milproto.load
    return coremltools


def read_program(package: Path) -> tuple[Any, Any]:
    """The specification and the main function of a Core ML package.

    Raises:
        ArtifactError: it is no package, not a whole one, or not of an ML program.
        MissingDependencyError: coremltools is not installed.
    """
    ct = preload()
    try:
        manifest = json.loads((package / "Manifest.json").read_bytes())
        root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
        if not (package / "Data" / root).is_file():
            raise FileNotFoundError(f"Data/{root} is missing")
    except OSError as e:
        raise ArtifactError(f"{package} is no Core ML package: {e.strerror or e}") from e
    except (ValueError, KeyError, TypeError) as e:
        raise ArtifactError(f"{package} is no Core ML package: Manifest.json is broken") from e
    load = ct.converters.mil.frontend.milproto.load.load
    weights = package / "Data" / "com.apple.CoreML" / "weights"
    try:
        with warnings_hidden():
            spec = ct.utils.load_spec(str(package))
            kind = spec.WhichOneof("Type")
            if kind == "mlProgram":
                program = load(spec, spec.specificationVersion, file_weights_dir=str(weights))
                return spec, program.functions["main"]
    except Exception as e:  # protobuf, the weights' reader and coremltools share no base class
        raise ArtifactError(f"{package} cannot be read: {one_line(e)}") from e
    raise ArtifactError(f"{package} is a {kind or 'model of no kind'}, not an ML program")


def one_line(error: Exception) -> str:
    """What an exception says, or what it is called where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def unique_names(main: Any) -> None:
    """Rename constants that are called like another variable.

    coremltools makes constants of what a program gives in place, such as class labels, and may
    call them like one that the file names.
    """
    constants = [op.outputs[0] for op in main.operations if op.op_type == "const"]
    results = [v for op in main.operations if op.op_type != "const" for v in op.outputs]
    taken = {v.name for v in (*main.inputs.values(), *results)}
    for var in constants:
        while var.name in taken:
            var.name += "_"
        taken.add(var.name)


def constant(value: Any) -> Value:
    """A constant of the program as operators take it: floats in float32, integers in int64."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return [constant(v) for v in value]
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        return [str(v) for v in array.reshape(-1)]
    return torch.from_numpy(
        array.astype({"f": np.float32, "b": np.bool_}.get(array.dtype.kind, np.int64))
    )


@dataclass(frozen=True)
class Step:
    """One operator of a program: parameter → variables, and (variable, type) of its results."""

    kind: str
    function: Op
    inputs: dict[str, str | list[str]]
    outputs: tuple[tuple[str, torch.dtype | None], ...]
    last_used: tuple[str, ...]
    """Variables that nothing needs after this step."""


class MilProgram:
    """The ML program of a Core ML package, ready to run.

    Raises:
        ArtifactError: the package cannot be read or is of another kind.
        MissingDependencyError: coremltools is not installed.
        RuntimeFailedError: an operator is not known here, or weights cannot be unpacked.
    """

    def __init__(self, package: Path) -> None:
        self.name = package.name
        spec, main = read_program(package)
        self.inputs = {n: (tuple(v.shape), declared_dtype(v)) for n, v in main.inputs.items()}
        """Name → shape, and type as it is stored."""
        self.outputs = tuple(v.name for v in main.outputs)
        self.images = {
            i.name: i.type.imageType.ColorSpace.Name(i.type.imageType.colorSpace)
            for i in spec.description.input
            if i.type.WhichOneof("Type") == "imageType"
        }
        """Inputs that are images → RGB, BGR or GRAYSCALE."""
        self.weights: dict[str, Value] = {}
        """Constants by name, unpacked: floats in float32, integers in int64."""
        steps: list[Step] = []
        needed = set(self.outputs)
        unique_names(main)
        for op in reversed(list(main.operations)):
            if op.op_type == "const":
                self.weights[op.outputs[0].name] = constant(op.outputs[0].val)
            else:
                steps.insert(0, self._step(op, needed))
        self._steps = [s for s in steps if not s.kind.startswith("constexpr_")]
        for step in steps:
            if step.kind.startswith("constexpr_"):
                self._execute(step, self.weights)

    def _step(self, op: Any, needed: set[str]) -> Step:
        """An operator; `needed` gains what steps after the one before it must find."""
        if op.op_type not in OPS:
            raise RuntimeFailedError(
                f"{self.name}: no operator {op.op_type!r} here, which makes {op.outputs[0].name!r}"
            )
        inputs = {
            name: [v.name for v in var] if isinstance(var, list | tuple) else var.name
            for name, var in op.inputs.items()
            if var is not None
        }
        names = {n for of in inputs.values() for n in ([of] if isinstance(of, str) else of)}
        last_used = tuple(names - needed)
        needed |= names
        outputs = tuple((v.name, declared_dtype(v)) for v in op.outputs)
        return Step(op.op_type, OPS[op.op_type], inputs, outputs, last_used)

    def _execute(self, step: Step, values: dict[str, Value]) -> None:
        """Run one step: its results join `values`, rounded to the types they are declared in."""

        def stored(name: str) -> Value:
            value = values[name] if name in values else self.weights[name]
            return value.float() if is_tensor(value, torch.float16) else value

        try:
            result = step.function(
                Arguments(
                    (key, stored(of) if isinstance(of, str) else [stored(n) for n in of])
                    for key, of in step.inputs.items()
                )
            )
            results = [result] if is_tensor(result) else result
            for (name, dtype), value in zip(step.outputs, results, strict=True):
                values[name] = value.to(dtype) if dtype and is_tensor(value) else value
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as e:
            raise RuntimeFailedError(
                f"{self.name}: cannot compute {step.outputs[0][0]!r}, a {step.kind}: {one_line(e)}"
            ) from e

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]],
        trace: bool = False,
        also: Collection[str] = (),
    ) -> dict[str, NDArray[Any]]:
        """Run the program.

        Args:
            inputs: name → tensor, of the program's shape; images as N×H×W×3 uint8, RGB, which the
                program's own first operators scale and shift.
            trace: give every variable that is not constant, not only the outputs.
            also: variables to give beside the outputs.

        Returns:
            Name → tensor, in the type the program declares. A classifier's label is an array of
            one, its dictionary a 1×K tensor of probabilities in the order of `classes`.

        Raises:
            RuntimeFailedError: an input is missing or of another shape, or an operator fails.
        """
        values: dict[str, Value] = {name: self._input(name, inputs) for name in self.inputs}
        with torch.inference_mode():
            for step in self._steps:
                self._execute(step, values)
                for name in () if trace else step.last_used:
                    if name not in also:
                        values.pop(name, None)
        given = values if trace else dict.fromkeys((*self.outputs, *also))
        return {name: np.asarray(values[name]) for name in given}

    def _input(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> Tensor:
        """One input as the program takes it."""
        if name not in inputs:
            raise RuntimeFailedError(f"{self.name}: no input {name!r}")
        array, (shape, dtype) = np.asarray(inputs[name]), self.inputs[name]
        if name in self.images:
            array = planes(array, self.images[name])
        if len(shape) != array.ndim or not all(map(fits, array.shape, shape)):
            raise RuntimeFailedError(
                f"{self.name}: input {name!r} is {array.shape}, the program takes {shape}"
            )
        return torch.from_numpy(np.ascontiguousarray(array)).to(dtype)

    @property
    def classes(self) -> tuple[str, ...]:
        """A classifier's labels in the order of its probabilities; empty for other programs."""
        last = self._classifier()
        names = self.weights[str(last.inputs["classes"])] if last else []
        return tuple(str(int(n)) if is_tensor(n) else n for n in names)

    def classifier_logits(self) -> tuple[str, bool]:
        """Of a classifier: the variable to take logits from, and whether it holds probabilities.

        That is what feeds the softmax before the classifier; where there is none, it is the
        probabilities, whose logarithms are logits up to one constant an image.
        """
        last = self._classifier()
        if last is None:
            raise RuntimeFailedError(f"{self.name} is no classifier")
        made = {name: step for step in self._steps for name, _ in step.outputs}
        at = probabilities = str(last.inputs["probabilities"])
        while at in made and made[at].kind in TRANSPARENT:
            at = str(made[at].inputs["x"])
        if at in made and made[at].kind == "softmax":
            return str(made[at].inputs["x"]), False
        return probabilities, True

    def operators(self) -> dict[str, int]:
        """How many operators of each type run, the most frequent first; no constants."""
        return dict(Counter(step.kind for step in self._steps).most_common())

    def _classifier(self) -> Step | None:
        return next((s for s in self._steps if s.kind == "classify"), None)


def planes(image: NDArray[Any], colours: str) -> NDArray[Any]:
    """N×H×W×3 RGB as the N×3×H×W that Core ML makes of an image, in the order of `colours`."""
    if image.ndim != 4 or image.shape[-1] != 3 or colours not in ("RGB", "BGR"):
        raise RuntimeFailedError(f"an image of shape {image.shape} cannot be fed as {colours}")
    return (image[..., ::-1] if colours == "BGR" else image).transpose(0, 3, 1, 2)


def fits(size: int, declared: Any) -> bool:
    """Whether an axis has the size that a program declares; one that is free is a symbol."""
    return size == declared or not isinstance(declared, int | np.integer)


def is_tensor(value: Value, dtype: torch.dtype | None = None) -> bool:
    """Whether a value is a tensor, and of a type."""
    return isinstance(value, Tensor) and (dtype is None or value.dtype == dtype)


def declared_dtype(var: Any) -> torch.dtype | None:
    """The type a variable is declared in; None for strings, lists and dictionaries."""
    types = preload().converters.mil.mil.types
    if not (types.is_tensor(var.sym_type) or types.is_scalar(var.sym_type)):
        return None
    return DTYPES.get(types.builtin_to_string(var.dtype))
