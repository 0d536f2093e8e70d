"""Files: how they were made and how to feed them."""

from __future__ import annotations

from pydantic import Field

from edgenext.schema.base import Calibration, EvalTransform, Record, TensorSpec


class Parity(Record):
    """Agreement of an exported file with the PyTorch network on n images.

    `max_abs` is the largest difference of a logit, `sqnr_db` the centred logits' SQNR,
    `agreement` the share of equal top-1 in percent, `stages` the SQNR after the stem and
    each stage in dB.
    """

    n: int
    max_abs: float
    sqnr_db: float
    agreement: float
    stages: dict[str, float] = Field(default_factory=dict)


class Conversion(Record):
    """How a file was converted from its ONNX deployment graph.

    `seconds` and `peak_mb` (MiB) are those of the converter's process. `operators` counts the
    file's operators by type, constants apart; `partitions` is how many pieces the runtime's
    accelerated kernels take the graph in, None where nobody can tell.
    """

    converter: str
    seconds: float
    peak_mb: float
    operators: dict[str, int] = Field(default_factory=dict)
    partitions: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def transposes(self) -> int:
        """Operators that move data for the layout's sake."""
        return sum(n for op, n in self.operators.items() if op.lower() == "transpose")


class Manifest(Record):
    """What stands beside every artifact: how it was made and how to feed it."""

    schema_version: int = 1
    file: str
    format: str
    scheme: str
    """`fp32` or a quantization scheme such as `w8a8-static`."""
    form: str
    """How the graph is laid out: `naive` for the plain export, else a deployment form."""
    target: str
    arch: str
    num_classes: int
    labels: tuple[str, ...] | None = None
    eval: EvalTransform
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    opset: int | None = None
    """Of an ONNX file."""
    sha256: str
    size_bytes: int
    source: dict[str, str]
    """Name and sha256 of what the artifact was made from: `weights`, `artifact`."""
    recipe: dict[str, object] | None = None
    calibration: Calibration | None = None
    parity: Parity | None = None
    tools: dict[str, str]
    engine: str = ""
    """Who quantized it; empty for a float file."""
    kept_float: dict[str, str] = Field(default_factory=dict)
    """Sites of a quantized file that stayed in float, each with its reason."""
    warnings: tuple[str, ...] = ()
    """What spoke against the calibration, with the evidence."""
    conversion: Conversion | None = None
    """How a file that is no ONNX was made."""
    sites: dict[str, str] = Field(default_factory=dict)
    """Site of the network → the tensor of the file that holds its output."""


class ExportResult(Record):
    """`export --json` and `quantize --json`."""

    artifact: str
    manifest: str
    format: str
    scheme: str
    sha256: str
    size_bytes: int
    parity: Parity | None
    target: str = "cpu-onnxruntime"
    form: str = ""
    engine: str = ""
    warnings: tuple[str, ...] = ()
    conversion: Conversion | None = None
