"""Artifacts: how they were made and what input they take."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgenext.schema.base import Calibration, Division, EvalTransform, Finite, Record, TensorSpec

PYTORCH = "PyTorch"
"""The label of parities against the PyTorch network."""
LOGITS = "logits"
"""The name of a classifier's output."""
FEATURES = ("stage1", "stage2", "stage3", "stage4")
"""The names of a backbone's outputs, in order."""


class Parity(Record):
    """Agreement of a file with a reference on n images.

    `reference` is what it is compared with: `PyTorch`, the name of the float file that was
    quantized, or the ONNX graph that was converted (`its float graph`, `its Q/DQ graph`); empty in
    files made before references were recorded. `max_abs` is the largest difference of a logit,
    `sqnr_db` the SQNR of the centred logits in dB, `agreement` the percentage of equal top-1,
    `stages` the SQNR after the stem and each stage in dB. Of a backbone, whose outputs are stages,
    the worst output decides: `sqnr_db` is the least of theirs, `max_abs` the largest difference of
    any of their values, `agreement` None. An SQNR of 200 dB means equal: it is the most that is
    recorded.
    """

    reference: str = ""
    n: int
    max_abs: float
    sqnr_db: float
    agreement: float | None
    stages: dict[str, float] = Field(default_factory=dict)

    @property
    def identical(self) -> bool:
        """Whether every value of every output is the reference's."""
        return self.max_abs == 0

    @property
    def tensors(self) -> dict[str, float]:
        """The SQNR in dB of everything that was compared: stages, and logits where there are."""
        return self.stages | ({} if self.agreement is None else {LOGITS: self.sqnr_db})

    @property
    def against(self) -> str:
        """The reference, in a sentence."""
        return self.reference or "its float network"


class Conversion(Record):
    """How a file was converted from its ONNX deployment graph.

    `seconds` and `peak_mb` (MiB) are those of the converter's process; a manifest leaves them out,
    since the same file has the same manifest. `operators` counts the file's operators by type,
    without constants; `partitions` is into how many parts the graph is divided for the runtime's
    accelerated kernels, None if unknown.
    """

    converter: str
    seconds: float | None = None
    peak_mb: float | None = None
    operators: dict[str, int] = Field(default_factory=dict)
    partitions: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def transposes(self) -> int:
        """The number of operators that only change the layout of data."""
        return sum(n for op, n in self.operators.items() if op.lower() == "transpose")


class Clipping(Record):
    """How the INT8 range of a tensor cuts what it held on the calibration images.

    `site` is the first quantized one that reads the tensor, else the one that gives it. `low` and
    `high` are the ends of the range, `least` and `most` the extreme values seen, `share` is the
    share of sampled values outside the range. Three significant digits: others depend on the CPU.
    """

    site: str
    low: float
    high: float
    least: float
    most: float
    share: float

    @property
    def cut(self) -> float:
        """The share of the span of the values seen that is outside the range."""
        outside = max(0.0, self.low - self.least) + max(0.0, self.most - self.high)
        return outside / (self.most - self.least) if self.most > self.least else 0.0


FeatureLayout = Literal["NCHW", "NHWC"]
"""The order of a feature map's axes."""


class FeatureMap(Record):
    """One output of a backbone: what a stage of the network computes.

    `name` is that of the output in the file, `stride` how many pixels of the image one step along
    a row or column is, `channels` its number of channels, and `layout` the order of its axes.
    """

    name: str
    stride: int
    channels: int
    layout: FeatureLayout = "NCHW"


class QatRecord(Record):
    """How a quantized file was trained before it was written; no label was read.

    `lr` is the highest learning rate, `batch` the images a step, `seed` of their order. `images`
    are those of an epoch.
    """

    epochs: int
    lr: float
    batch: int
    seed: int
    images: Calibration


class BuildOptions(Record):
    """What decides a file besides its source, recipe and calibration, which its manifest has too.

    `batch` is None for any number; `opset` that of the graph before the conversion; `uint8_input`
    takes pixels with the preprocessing inside; `features_only` gives the stage outputs instead of
    logits. `format_options` are the format's own; `seed` is of the values sampled for the range
    search.
    """

    batch: int | None = 1
    opset: int | None = None
    uint8_input: bool = False
    features_only: bool = False
    format_options: dict[str, str | bool] = Field(default_factory=dict)
    seed: int = 0


FactSource = Literal["file", "option", "default"]
"""Where a fact of an adopted file is from."""


class Adoption(Record):
    """What is known of a file that others made.

    `producer` is what the file says of its maker. `facts` are the parts of its manifest that
    somebody must know, by the option that sets them, and where each is from. `probabilities` says
    that its output is those of a softmax: its logits are their logarithms.
    """

    producer: str = ""
    facts: dict[str, FactSource] = Field(default_factory=dict)
    probabilities: bool = False


class Manifest(Record):
    """The record beside every artifact: how it was made and what input it takes.

    An adopted file has no architecture, form, source or sites, and no parity.
    """

    schema_version: int = 1
    file: str
    format: str
    scheme: str
    """`fp32` or a quantization scheme such as `w8a8-static`."""
    form: str = ""
    """The layout of the graph: `naive` for the plain export, else a deployment form."""
    target: str
    arch: str = ""
    num_classes: int
    labels: tuple[str, ...] | None = None
    """The id of each class, by which class folders are matched."""
    class_names: tuple[str, ...] | None = None
    """What an app shows of each class, as the words in `synset_words.txt`; None: the labels."""
    division: Division | None = None
    """Of data without split folders that the network was trained on: how it was divided."""
    eval: EvalTransform
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    features: tuple[FeatureMap, ...] = ()
    """Of a backbone: its outputs, from the first stage to the last."""
    opset: int | None = None
    """Of an ONNX file."""
    sha256: str
    size_bytes: int
    files: dict[str, str] = Field(default_factory=dict)
    """Of an artifact of several files: name → sha256. In a folder names are relative to it."""
    source: dict[str, str] = Field(default_factory=dict)
    """Name and sha256 of the source: `weights`, `artifact`."""
    adopted: Adoption | None = None
    """Of a file that others made, or that was quantized from one; None: this package made it."""
    recipe: dict[str, Finite] | None = None
    calibration: Calibration | None = None
    qat: QatRecord | None = None
    """How it was trained after it was quantized; None: it was not."""
    parity: Parity | None = None
    """Against the network: in PyTorch, or as the float file that was quantized."""
    conversion_parity: Parity | None = None
    """Of a file that was made from an ONNX graph: against that graph."""
    tools: dict[str, str]
    engine: str = ""
    """The quantizer; empty for a float file."""
    kept_float: dict[str, str] = Field(default_factory=dict)
    """Sites of a quantized file that stayed in float → the reason."""
    warnings: tuple[str, ...] = ()
    """Doubts about the calibration, with the evidence."""
    clipping: dict[str, Clipping] = Field(default_factory=dict)
    """Tensor → how its range clips, for the tensors of a calibrated file whose ranges clip."""
    conversion: Conversion | None = None
    """How a file of another format than ONNX was made."""
    sites: dict[str, str] = Field(default_factory=dict)
    """Site of the network → the tensor in the file with its output."""
    options: BuildOptions | None = None
    """None in manifests of earlier versions."""
    manifest_sha256: str = ""
    """Of this JSON file with this value empty."""

    @property
    def gives_probabilities(self) -> bool:
        """Whether the logarithms of its output are its logits."""
        return self.adopted is not None and self.adopted.probabilities

    @property
    def takes_pixels(self) -> bool:
        """Whether its input is images as they are; an adopted file's bytes may be other values."""
        return self.input.dtype == "uint8" and (self.adopted is None or self.input.scale is None)

    @property
    def is_backbone(self) -> bool:
        """Whether it gives feature maps instead of logits."""
        return bool(self.features or (self.options and self.options.features_only))

    @property
    def fitted_on(self) -> tuple[Calibration, ...]:
        """The sets of images that decided its numbers: none of them may be evaluated on."""
        trained = self.qat.images if self.qat else None
        return tuple(images for images in (self.calibration, trained) if images)

    @property
    def shown_names(self) -> tuple[str, ...] | None:
        """What an app shows of each class: its name, else its label."""
        return self.class_names or self.labels


class ExportResult(Record):
    """`export --json` and `quantize --json`."""

    artifact: str
    manifest: str
    format: str
    scheme: str
    sha256: str
    size_bytes: int
    parity: Parity | None
    conversion_parity: Parity | None = None
    target: str = "cpu-onnxruntime"
    form: str = ""
    engine: str = ""
    warnings: tuple[str, ...] = ()
    conversion: Conversion | None = None
    features: tuple[FeatureMap, ...] = ()
    """Of a backbone: its outputs."""
