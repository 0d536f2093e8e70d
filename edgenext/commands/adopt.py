"""A manifest for a classifier that others made, by which every command can use its file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from edgenext.commands.context import Context
from edgenext.errors import ArtifactError, DataError, UsageError, unknown_name
from edgenext.formats.artifact import (
    MANIFEST_VERSION,
    Artifact,
    check_manifest,
    content_files,
    content_sha256,
    content_size,
    manifest_path,
    write_manifest,
)
from edgenext.formats.embedded import described_by
from edgenext.formats.foreign import ForeignFile, Port, foreign_format, of_three
from edgenext.formats.isolated_session import describe_isolated, open_isolated
from edgenext.formats.session import Logits, Session, logits
from edgenext.models.labels import require_distinct
from edgenext.models.sidecar import read_labels
from edgenext.models.zoo import MAX_SIZE
from edgenext.options import ADOPT, AdoptOptions, with_exif
from edgenext.schema import Adoption, EvalTransform, FactSource, Manifest, TensorSpec
from edgenext.system.parsing import read_record
from edgenext.system.reading import readable
from edgenext.system.versions import versions_of

if TYPE_CHECKING:
    from edgenext.formats.format import Format

READING, RUNNING = "reading the file", "running it once"
"""The tasks of adopting a file, in order."""
TRIED = 4
"""Images that a file is run on before its manifest is written."""
SUM = 0.01
"""How far the sum of a softmax may be from 1, in float16 too."""
SOFTMAX_SCALE = 1 / 256
"""The scale of TFLite's integer softmax, which its specification fixes."""
SAME = 1e-4
"""Means and deviations that differ by less are equal: writers round them."""
INPUTS = {"float32", "float16", "uint8"}
"""Types of inputs; other integers need a scale."""
OUTPUTS = {"float32", "float16"}
"""Types of outputs; integers need a scale."""
TOOLS = ("edgenext", "onnxruntime")
"""Packages whose versions the manifest records."""


def adopt(
    artifact: str | Path, adopt_options: AdoptOptions = ADOPT, *, context: Context | None = None
) -> Artifact:
    """Write a manifest beside a classifier that others made: see `edgenext adopt`.

    The file is read and run once, in processes of its own; it is not changed.

    Args:
        artifact: an ONNX, TFLite or OpenVINO file or a Core ML package.
        adopt_options: what the file does not say of itself.
        context: what was loaded before.

    Raises:
        UsageError: something is missing, or contradicts what the file says; the message names all.
        ArtifactError: no classifier of images, or a file that this package made.
        DataError: labels that do not fit.
        RuntimeFailedError: its runtime cannot load or run it.
        OutputError: the manifest cannot be written.

    >>> import onnx
    >>> theirs = onnx.load("edgenext_xx_small-32-fp32.onnx")
    >>> del theirs.metadata_props[:]
    >>> onnx.save(theirs, "theirs.onnx")
    >>> manifest = adopt("theirs.onnx", AdoptOptions(mean=(0.5,), std=(0.25,))).manifest
    >>> manifest.num_classes, manifest.gives_probabilities, manifest.arch
    (10, False, '')
    """
    path, context = Path(artifact), context or Context()
    row = foreign_format(path)
    _require_foreign(path, row)
    with context.progress.steps(READING, RUNNING):
        context.progress(READING, 0, 0)
        reading = _Reading(path, row, describe_isolated(path, row.folder), adopt_options)
        manifest = reading.manifest()
        check_manifest(manifest, path)
        context.progress(RUNNING, 0, 0)
        values = _tried(path, open_isolated(Artifact(path, manifest), 1), manifest)
    manifest = reading.completed(manifest, values)
    check_manifest(manifest, path)
    return Artifact(path, write_manifest(path, manifest))


def _require_foreign(path: Path, row: Format) -> None:
    """Refuse a file that this package made: by its manifest, unless it was adopted before.

    Raises:
        ArtifactError: as above.
    """
    beside = manifest_path(path)
    if beside.exists():
        record = read_record(
            beside, Manifest, "a manifest", error=ArtifactError, version=MANIFEST_VERSION
        )
        own = record.adopted is None or bool(record.source)
    else:
        own = described_by(row, path) is not None
    if own:
        raise ArtifactError(
            f"{readable(path)} has a manifest of edgenext already", "Use it as it is"
        )


@dataclass
class _Reading:
    """What is known of a file: what it says, and what the user says.

    `facts` collects where each fact is from, `missing` the options without which nothing can be
    done, `problems` what contradicts.
    """

    path: Path
    row: Format
    file: ForeignFile
    options: AdoptOptions
    facts: dict[str, FactSource] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def manifest(self) -> Manifest:
        """The manifest before the file has run: with the number of classes that it declares.

        Raises:
            UsageError: something is missing or contradicts.
            ArtifactError: the file is no classifier of images.
        """
        name = readable(self.path.name)
        spec = self._input()
        output = self._output()
        transform = self._transform(spec)
        if self.problems:
            raise UsageError(f"{name}: {'; '.join(self.problems)}", "Leave out what the file says")
        if self.missing or output is None or transform is None:
            raise UsageError(
                f"{name} does not say all that is needed", f"Give {', '.join(self.missing)}"
            )
        classes = max(output.shape[1:], default=0)
        return Manifest(
            file=self.path.name,
            format=self.row.name,
            scheme=self.file.scheme,
            target=self.row.target,
            num_classes=max(classes, 1),
            eval=transform,
            input=spec,
            outputs=(output,),
            opset=self.file.opset,
            sha256=content_sha256(self.path),
            size_bytes=content_size(self.path),
            files=content_files(self.path),
            tools=versions_of(*TOOLS),
            adopted=Adoption(producer=readable(self.file.producer[:200]), facts=self.facts),
        )

    def completed(self, manifest: Manifest, values: Logits) -> Manifest:
        """The manifest with what its outputs for a few images show, and with labels.

        Raises:
            DataError: another number of labels than of classes.
        """
        classes = values.shape[1]
        labels, names = self._labels(classes)
        adopted = manifest.adopted or Adoption()
        softmax = _are_probabilities(values, manifest.outputs[0])
        return manifest.model_copy(
            update={
                "num_classes": classes,
                "labels": labels,
                "class_names": names,
                "adopted": adopted.model_copy(
                    update={"probabilities": softmax, "facts": dict(sorted(self.facts.items()))}
                ),
            }
        )

    def _refuse(self, problem: str) -> ArtifactError:
        name = readable(self.path.name)
        return ArtifactError(f"{name} is not a classifier of images: {problem}")

    def _input(self) -> TensorSpec:
        """The input: one image of red, green and blue, or a batch of them."""
        if len(self.file.inputs) != 1:
            names = ", ".join(port.text for port in self.file.inputs) or "none"
            raise self._refuse(f"it has {len(self.file.inputs)} inputs ({names}), not one")
        port = self.file.inputs[0]
        if len(port.shape) != 4 or 3 not in (port.shape[1], port.shape[3]):
            raise self._refuse(f"its input {port.text} is not N×3×H×W or N×H×W×3")
        last = port.shape[3] == 3
        height, width = port.shape[1:3] if last else port.shape[2:4]
        if 3 in (height, width) or 0 in port.shape:
            raise self._refuse(f"its input {port.text} has no room for an image")
        if height != width:
            raise self._refuse(f"its input {port.text} is not square, as images are cropped")
        if self.file.about.bgr:
            raise self._refuse("its metadata says that it takes blue first, and red last")
        if port.dtype not in INPUTS and port.scale is None:
            raise self._refuse(f"its input {port.text} has a type that no image is made into")
        return self._spec(port)

    def _spec(self, port: Port) -> TensorSpec:
        """A port as a manifest has it."""
        values: dict[str, Any] = port.model_dump()
        if not port.name:
            raise self._refuse("an input or output has no name")
        if port.dtype not in get_args(TensorSpec.model_fields["dtype"].annotation):
            raise self._refuse(f"{port.text} has an unsupported type")
        return TensorSpec(**values)

    def _output(self) -> TensorSpec | None:
        """The output with a score for each class; None if it must be chosen."""
        ports = {port.name: port for port in self.file.outputs}
        chosen = self.options.output
        if not ports:
            raise self._refuse("it has no output")
        if chosen and chosen not in ports:
            raise unknown_name("output", chosen, ports)
        if len(ports) > 1 and not chosen:
            names = " or ".join(port.text for port in self.file.outputs)
            self.missing.append(f"--output NAME, which is {names}")
            return None
        port = ports[chosen] if chosen else self.file.outputs[0]
        if len(ports) > 1:
            self.facts["output"] = "option"
        axes = [side for side in port.shape[1:] if side != 1]
        if len(port.shape) < 2 or len(axes) != 1:
            raise self._refuse(f"its output {port.text} is not N×K, a score for each of K classes")
        if port.dtype not in OUTPUTS and port.scale is None:
            raise self._refuse(f"its output {port.text} has no scores")
        return self._spec(port)

    def _transform(self, spec: TensorSpec) -> EvalTransform | None:
        """How images become inputs; None if something is missing."""
        options = self.options
        size = self._size(spec)
        pixels = spec.dtype == "uint8" and spec.scale is None
        mean, std = self._normalisation(pixels)
        defaults = EvalTransform()
        crop = self._chosen("crop-pct", options.crop_pct, defaults.crop_pct)
        interpolation = self._chosen("interpolation", options.interpolation, defaults.interpolation)
        kinds = get_args(EvalTransform.model_fields["interpolation"].annotation)
        if interpolation not in kinds:
            raise unknown_name("interpolation", interpolation, kinds)
        if not 0 < crop <= 1:
            raise UsageError(f"--crop-pct {crop:g} is not a share", "Use one above 0 and at most 1")
        if size is None or mean is None or std is None:
            return None
        transform = EvalTransform(
            size=size, crop_pct=crop, interpolation=cast(Any, interpolation), mean=mean, std=std
        )
        return with_exif(transform, options.exif)

    def _chosen(self, name: str, value: Any, default: Any) -> Any:
        """The value of an option, or its default; where it is from is recorded."""
        self.facts[name] = "default" if value is None else "option"
        return default if value is None else value

    def _size(self, spec: TensorSpec) -> int | None:
        """The side of the image."""
        side = spec.shape[1 if spec.channels_last else 2]
        size = self.options.size
        if size is not None and not 0 < size <= MAX_SIZE:
            raise UsageError(f"--size {size} is no size of an image", f"Use 1 to {MAX_SIZE}")
        if side > 0:
            self.facts["size"] = "file"
            if size not in (None, side):
                self.problems.append(f"it takes images of {side} px, not --size {size}")
            return side
        if size is None and self.file.about.size:
            self.facts["size"] = "file"
            return min(self.file.about.size, MAX_SIZE)
        if size is None:
            self.missing.append("--size")
        self.facts["size"] = "option"
        return size

    def _normalisation(self, pixels: bool) -> tuple[Any, Any]:
        """Mean and deviation of pixels in 0 to 1; None where they are missing.

        An input of bytes has them inside.
        """
        given = {"mean": self.options.mean, "std": self.options.std}
        metadata = {"mean": self.file.about.mean, "std": self.file.about.std}
        if pixels:
            if options := [f"--{name}" for name, value in given.items() if value is not None]:
                self.problems.append(f"it takes bytes, without {' and '.join(options)}")
            self.facts |= {"mean": "file", "std": "file"}
            return (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)
        return self._colours("mean", given, metadata), self._colours("std", given, metadata)

    def _colours(self, name: str, given: dict[str, Any], metadata: dict[str, Any]) -> Any:
        value, own = given[name], metadata[name]
        if value is None:
            self.facts[name] = "file"
            if own is None:
                self.missing.append(f"--{name}")
            return own
        three = of_three(value)
        if three is None or max(map(abs, three)) > 1 or (name == "std" and min(three) <= 0):
            least = "above 0" if name == "std" else "0"
            raise UsageError(
                f"--{name} {','.join(f'{v:g}' for v in value)} is not of pixels from 0 to 1",
                f"Give one number or three, {least} to 1; divide by 255 what is of bytes",
            )
        self.facts[name] = "option"
        if own and any(
            not math.isclose(a, b, abs_tol=SAME) for a, b in zip(three, own, strict=True)
        ):
            text = ",".join(f"{v:g}" for v in own)
            self.problems.append(f"its metadata has a {name} of {text}, not that of --{name}")
        return three

    def _labels(self, classes: int) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
        """Labels and what people call the classes.

        Names of a file that are not distinct are shown, and match no folders.
        """
        own, option = self.file.about.labels, self.options.labels
        if option is not None:
            labels, names = read_labels(option)
            _require_count(labels, classes, readable(option))
            if own and set(own) == set(labels) and own != labels:
                raise DataError(
                    f"{readable(option)} has the labels of {self.path.name} in another order",
                    "Leave --labels out",
                )
            self.facts["labels"] = "option"
            is_own = own is not None and len(own) == classes and "" not in own
            return labels, own if is_own else names
        if own is None:
            return None, None
        _require_count(own, classes, f"the metadata of {readable(self.path.name)}")
        self.facts["labels"] = "file"
        names = tuple(name or str(i) for i, name in enumerate(own))
        try:
            require_distinct(own, self.path.name, "positions", DataError)
        except DataError:
            return None, names
        return (names, None) if "" not in own else (None, names)


def _require_count(labels: tuple[str, ...], classes: int, source: str) -> None:
    """Refuse another number of labels than of classes.

    Raises:
        DataError: as above.
    """
    if len(labels) != classes:
        raise DataError(
            f"{source} has {len(labels)} labels for {classes} outputs",
            "Give --labels a file with one for each output, in their order",
        )


def _tried(path: Path, session: Session, manifest: Manifest) -> Logits:
    """The outputs for a few images of one colour and of noise, N×K.

    Raises:
        ArtifactError: they are not finite, or not one row of scores for each image.
    """
    size = manifest.eval.size
    images = np.random.default_rng(0).integers(0, 256, (TRIED, size, size, 3), np.uint8)
    images[0], images[1] = 0, 255
    values = np.concatenate(list(logits(session, images, 1)))
    name = readable(path.name)
    if not np.isfinite(values).all():
        raise ArtifactError(
            f"{name} gives NaN or infinity for images of one colour or of noise",
            "Its weights are broken, or --mean and --std are wrong",
        )
    if values.shape[0] != TRIED or values.shape[1] < 2:
        shape = "×".join(map(str, values.shape))
        raise ArtifactError(
            f"{name} is not a classifier of images: it gives {shape} values for {TRIED} of them"
        )
    return values


def _are_probabilities(values: Logits, output: TensorSpec) -> bool:
    """Whether rows of outputs are those of a softmax."""
    if values.min() < 0 or values.max() > 1 + SUM:
        return False
    if output.scale is not None:
        return math.isclose(output.scale, SOFTMAX_SCALE, rel_tol=SAME)
    return bool(np.abs(values.sum(axis=1) - 1).max() < SUM)
