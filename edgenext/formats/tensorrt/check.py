"""NVIDIA's ONNX parser and engine builder (TensorRT-RTX), which need neither GPU nor driver.

An engine built here shows that parser and compiler take the graph. It is not an engine for Jetson.
"""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.formats.placement import call_compiler, check_report, placements, refusals
from edgenext.formats.tensorrt.jetpack import JETPACKS, Jetpack, generation_of
from edgenext.targets.scheme import is_int8

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport

PACKAGE = "tensorrt-rtx-cu12"

NOT_JETSON = (
    "built by TensorRT-RTX for SM86, the nearest to the Jetson Orin's SM87 that it has: NVIDIA's "
    "parser and compiler take the graph, and the engine is none for a Jetson"
)
NO_LAYERS = "TensorRT runs a whole engine on the GPU; which of its kernels runs what is not told"
NO_INT8 = "the GPUs of Jetson Nano, TX1 and TX2 have no INT8 arithmetic: use fp16 there"


def check(artifact: Artifact, jetpack: str = "") -> CheckReport:
    """Whether NVIDIA's parser and builder take an ONNX file, strongly typed.

    Args:
        artifact: ONNX.
        jetpack: generation whose parser's opset and operators are required too; if empty, the
            generations that the file fits are noted.

    Raises:
        UsageError: unknown JetPack generation.
        MissingDependencyError: TensorRT-RTX is not installed.
        RuntimeFailedError: it crashed.
    """
    generation = generation_of(jetpack) if jetpack else ""
    outcome = call_compiler("tensorrt.check:build", artifact, "tensorrt_rtx", "TensorRT")
    result = outcome.result
    refused = [tuple(node) for node in result["refused"]]
    unsupported = {name: _unsupported(result, row) for name, row in JETPACKS.items()}
    by_lists, notes = unsupported.get(generation, []), _notes(unsupported, generation)
    for_nano = generation == "4" or (not generation and not unsupported["4"])
    if is_int8(artifact.manifest.scheme) and for_nano:
        notes.append(NO_INT8)
    errors = tuple(result["errors"])
    accepted = not errors and not by_lists
    return check_report(
        artifact,
        "jetson",
        unit="gpu",
        compiler="TensorRT-RTX",
        version=version(PACKAGE),
        accepted=accepted,
        delegated=accepted,
        placements=placements({"gpu": result["operators"]} if accepted else {}),
        refusals=refusals([*refused, *by_lists]),
        errors=errors,
        seconds=round(outcome.seconds, 1),
        notes=(*((NOT_JETSON, NO_LAYERS) if not errors else ()), *notes),
    )


def build(job: dict[str, Any]) -> dict[str, Any]:
    """Parse and build a file for SM86.

    Args:
        job: `path` of an ONNX file.

    Returns:
        NVIDIA's `errors`, none if it was built; `refused` operators as type, name and reason;
        of the file its `operators` by type, its `opset` and its number of `int8_constants`.
    """
    import tensorrt_rtx as trt

    class Errors(trt.ILogger):  # type: ignore[misc] # the package is untyped
        def __init__(self) -> None:
            super().__init__()
            self.messages: list[str] = []

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.messages.append(msg)

    log = Errors()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(job["path"]):
        failures = [parser.get_error(i) for i in range(parser.num_errors)]
        refused = [
            (e.node_operator(), e.node_name(), _reason(e)) for e in failures if e.node_operator()
        ]
        errors = [str(e) for e in failures] or log.messages or ["refused without a reason"]
        return {"errors": errors, "refused": refused, **_contents(job["path"])}
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    errors = []
    if builder.build_serialized_network(network, config) is None:
        errors = log.messages or ["not built, without a reason"]
    return {"errors": errors, "refused": [], **_contents(job["path"])}


def _reason(error: Any) -> str:
    """The parser's description of an error; its code if the description is empty."""
    text = str(error.desc()).removeprefix("Assertion failed: ")
    return text if text not in ("", "false") else str(error.code().name).replace("_", " ").lower()


def _contents(path: str) -> dict[str, Any]:
    """What a file contains of the properties on which JetPack generations differ."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
    except DecodeError:
        return {"operators": {}, "opset": 0, "int8_constants": 0}
    stored = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8}
    read = [n.input[0] for n in model.graph.node if n.op_type == "DequantizeLinear"]
    return {
        "operators": Counter(node.op_type for node in model.graph.node),
        "opset": next((d.version for d in model.opset_import if not d.domain), 0),
        "int8_constants": sum(name in stored for name in read),
    }


Unsupported = list[tuple[str, str, str]]
"""Type, name and reason of each operator."""


def _notes(unsupported: dict[str, Unsupported], generation: str) -> list[str]:
    """What NVIDIA's lists say about the parsers of JetPack, which cannot be run here."""
    if generation:
        trt = f"TensorRT {JETPACKS[generation].tensorrt} of JetPack {generation}"
        return [f"{trt} was not asked: its opset and operators are taken from NVIDIA's lists"]
    fitting = [name for name, operators in unsupported.items() if not operators]
    fits = f"JetPack {' and '.join(fitting)}" if fitting else "no JetPack generation known here"
    return [f"fits {fits}, by NVIDIA's lists of opsets and operators"]


def _unsupported(contents: dict[str, Any], jetpack: Jetpack) -> Unsupported:
    """Operators of a file that a generation's parser does not take, by NVIDIA's lists."""
    trt = f"TensorRT {jetpack.tensorrt}"
    result: Unsupported = []
    if contents["opset"] > jetpack.opset:
        reason = f"{trt} takes opset {jetpack.opset} at most, not {contents['opset']}"
        result.append(("opset", "", reason))
    for operator in jetpack.lacks:
        count = contents["operators"].get(operator, 0)
        result += [(operator, "", f"{trt} has no such operator")] * count
    if jetpack.float_weights:
        reason = f"{trt} takes float weights in front of Q/DQ, no int8 constants"
        result += [("DequantizeLinear", "", reason)] * contents["int8_constants"]
    return result
