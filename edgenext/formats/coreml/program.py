"""The ML program of a Core ML package, run operator by operator.

It is a reference, not a simulator. Every operator computes in float32 from inputs as the program
stores them, and its result is rounded to the type that the program declares. For fp16 operators
that is the best a device with float32 accumulators can do: one that accumulates in fp16, or that
fuses operators and so rounds less often, differs in the last bits.
"""

from __future__ import annotations

import contextlib
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
from edgenext.formats.session import needed, one_line
from edgenext.system.parsing import read_json

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
"""MIL's names of the types to which results are converted; others stay as they are."""

DECOMPRESSION = "constexpr_"
"""How the names of operators begin that decompress weights."""

TRANSPARENT = ("cast", "expand_dims", "identity", "reshape", "squeeze")
"""Operators between a softmax and the classifier that do not change a value."""


@contextlib.contextmanager
def warnings_hidden() -> Iterator[None]:
    """Hide warnings and log lines of coremltools and of what it imports, such as torchao.

    At every import it logs that this is not macOS and which versions it was not tested with.
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


def _read_manifest(package: Path) -> Any:
    """The `Manifest.json` of a Core ML package.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        return read_json(package / "Manifest.json", ArtifactError)
    except ArtifactError as e:
        raise ArtifactError(f"{package} is not a Core ML package: {e.message}") from e


def root_path(package: Path) -> str:
    """The path of a Core ML package's specification below its folder `Data`.

    Raises:
        ArtifactError: it is not a package, or incomplete.
    """
    try:
        manifest = _read_manifest(package)
        root = str(manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"])
    except (KeyError, TypeError) as e:
        raise ArtifactError(f"{package} is not a Core ML package: Manifest.json is broken") from e
    folder = (package / "Data").resolve()
    if not (folder / root).resolve().is_relative_to(folder) or not (folder / root).is_file():
        raise ArtifactError(f"{package} is not a Core ML package: Data/{root} is missing")
    return root


def read_program(package: Path) -> tuple[Any, Any]:
    """The specification and the main function of a Core ML package.

    Raises:
        ArtifactError: it is not a package, incomplete, or not of an ML program.
        MissingDependencyError: coremltools is not installed.
    """
    ct = preload()
    root_path(package)
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


def make_names_unique(main: Any) -> None:
    """Rename constants that have the name of another variable.

    coremltools makes constants of inline values, such as class labels, and may give them a name
    that a variable of the file has.
    """
    constants = [op.outputs[0] for op in main.operations if op.op_type == "const"]
    results = [v for op in main.operations if op.op_type != "const" for v in op.outputs]
    taken = {v.name for v in (*main.inputs.values(), *results)}
    for var in constants:
        while var.name in taken:
            var.name += "_"
        taken.add(var.name)


def constant(value: Any) -> Value:
    """A constant of the program as operators take it: floats as float32, integers as int64."""
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
    """One operator: its inputs, parameter → variables, and outputs, (variable, type) each."""

    kind: str
    function: Op
    inputs: dict[str, str | list[str]]
    outputs: tuple[tuple[str, torch.dtype | None], ...]
    last_used: tuple[str, ...]
    """Variables that no later step reads."""

    @property
    def is_constant(self) -> bool:
        """Whether it decompresses weights, which is done once."""
        return self.kind.startswith(DECOMPRESSION)


class MilProgram:
    """The ML program of a Core ML package, ready to run.

    Raises:
        ArtifactError: the package cannot be read or is of another kind.
        MissingDependencyError: coremltools is not installed.
        RuntimeFailedError: an unsupported operator, or weights that cannot be unpacked.
    """

    def __init__(self, package: Path) -> None:
        self.name = package.name
        spec, main = read_program(package)
        self.inputs = {n: (tuple(v.shape), declared_dtype(v)) for n, v in main.inputs.items()}
        """Name → shape and stored type."""
        self.metadata = dict(spec.description.metadata.userDefined)
        """What the writer of the package says of it."""
        self.outputs = tuple(v.name for v in main.outputs)
        self.output_shapes = [tuple(getattr(v, "shape", ())) for v in main.outputs]
        self.images = {
            i.name: i.type.imageType.ColorSpace.Name(i.type.imageType.colorSpace)
            for i in spec.description.input
            if i.type.WhichOneof("Type") == "imageType"
        }
        """Inputs that are images → RGB, BGR or GRAYSCALE."""
        self.weights: dict[str, Value] = {}
        """Constants by name, unpacked: floats in float32, integers in int64."""
        kinds = {op.op_type for op in main.operations}
        self.decompresses = {kind for kind in kinds if kind.startswith(DECOMPRESSION)}
        """The operators that decompress its weights."""
        make_names_unique(main)
        steps = self._read_steps(main)
        self._steps = [step for step in steps if not step.is_constant]
        for step in steps:
            if step.is_constant:
                self._execute(step, self.weights)

    def _read_steps(self, main: Any) -> list[Step]:
        """The operators of a function in order; plain constants go to `weights`."""
        steps: list[Step] = []
        read_later = set(self.outputs)
        for op in reversed(list(main.operations)):
            if op.op_type == "const":
                self.weights[op.outputs[0].name] = constant(op.outputs[0].val)
            else:
                steps.insert(0, self._step(op, read_later))
        return steps

    def _step(self, op: Any, read_later: set[str]) -> Step:
        """An operator; its inputs join `read_later`, the variables that later steps read."""
        if op.op_type not in OPS:
            raise RuntimeFailedError(
                f"{self.name}: unsupported operator {op.op_type!r}, which computes "
                f"{op.outputs[0].name!r}"
            )
        inputs = {
            name: [v.name for v in var] if isinstance(var, list | tuple) else var.name
            for name, var in op.inputs.items()
            if var is not None
        }
        names = {
            name
            for variables in inputs.values()
            for name in ([variables] if isinstance(variables, str) else variables)
        }
        last_used = tuple(names - read_later)
        read_later |= names
        outputs = tuple((v.name, declared_dtype(v)) for v in op.outputs)
        return Step(op.op_type, OPS[op.op_type], inputs, outputs, last_used)

    def _arguments(self, step: Step, values: Mapping[str, Value]) -> Arguments:
        """The inputs of a step, from `values` and constants, with floats in float32."""

        def read(name: str) -> Value:
            value = values[name] if name in values else self.weights[name]
            return value.float() if is_tensor(value, torch.float16) else value

        return Arguments(
            (parameter, read(names) if isinstance(names, str) else [read(n) for n in names])
            for parameter, names in step.inputs.items()
        )

    def _execute(self, step: Step, values: dict[str, Value]) -> None:
        """Run one step and add its results to `values`, rounded to their declared types."""
        try:
            result = step.function(self._arguments(step, values))
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
            inputs: name → tensor of the program's shape; images as N×H×W×3 uint8, RGB, which the
                program's first operators scale and shift.
            trace: return every variable that is not constant, not only the outputs.
            also: variables to return beside the outputs.

        Returns:
            Name → tensor, in the type that the program declares. A classifier's label is an array
            of one, its dictionary a 1×K tensor of probabilities in the order of `classes`.

        Raises:
            RuntimeFailedError: an input is missing or has another shape, or an operator fails.
        """
        values: dict[str, Value] = {name: self._input(name, inputs) for name in self.inputs}
        with torch.inference_mode():
            for step in self._steps:
                self._execute(step, values)
                for name in () if trace else step.last_used:
                    if name not in also:
                        values.pop(name, None)
        names = values if trace else dict.fromkeys((*self.outputs, *also))
        return {name: np.asarray(values[name]) for name in names}

    def _input(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> Tensor:
        """One input, as the program takes it."""
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
        step = self._classifier()
        names = self.weights[str(step.inputs["classes"])] if step else []
        return tuple(str(int(n)) if is_tensor(n) else n for n in names)

    def classifier_logits(self) -> tuple[str, bool]:
        """A classifier's variable with the logits, and whether it has probabilities instead.

        It is the input of the softmax before the classifier. Without a softmax it is the
        probabilities, whose logarithms are logits up to a constant per image.
        """
        classifier = self._classifier()
        if classifier is None:
            raise RuntimeFailedError(f"{self.name} is not a classifier")
        producers = {name: step for step in self._steps for name, _ in step.outputs}
        name = probabilities = str(classifier.inputs["probabilities"])
        while name in producers and producers[name].kind in TRANSPARENT:
            name = str(producers[name].inputs["x"])
        if name in producers and producers[name].kind == "softmax":
            return str(producers[name].inputs["x"]), False
        return probabilities, True

    @property
    def computes_half(self) -> bool:
        """Whether most of its results are float16."""
        types = [dtype for step in self._steps for _, dtype in step.outputs]
        return types.count(torch.float16) > types.count(torch.float32)

    def operators(self) -> dict[str, int]:
        """Operators by type, the most frequent first, without constants."""
        return dict(Counter(step.kind for step in self._steps).most_common())

    def _classifier(self) -> Step | None:
        return next((s for s in self._steps if s.kind == "classify"), None)


def planes(image: NDArray[Any], colours: str) -> NDArray[Any]:
    """N×H×W×3 RGB as N×3×H×W, as Core ML passes an image to a program, in order of `colours`."""
    if image.ndim != 4 or image.shape[-1] != 3 or colours not in ("RGB", "BGR"):
        raise RuntimeFailedError(f"an image of shape {image.shape} cannot be fed as {colours}")
    return (image[..., ::-1] if colours == "BGR" else image).transpose(0, 3, 1, 2)


def fits(size: int, declared: Any) -> bool:
    """Whether an axis has the size that a program declares; free sizes are symbols."""
    return size == declared or not isinstance(declared, int | np.integer)


def is_tensor(value: Value, dtype: torch.dtype | None = None) -> bool:
    """Whether a value is a tensor, of a type if given."""
    return isinstance(value, Tensor) and (dtype is None or value.dtype == dtype)


def declared_dtype(var: Any) -> torch.dtype | None:
    """The declared type of a variable; None for strings, lists and dictionaries."""
    types = preload().converters.mil.mil.types
    if not (types.is_tensor(var.sym_type) or types.is_scalar(var.sym_type)):
        return None
    return DTYPES.get(types.builtin_to_string(var.dtype))
