"""NVIDIA's own ONNX parser and engine builder (TensorRT-RTX): they need neither GPU nor driver.

An engine built here is evidence that parser and compiler take the graph, not a Jetson engine.
"""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.formats.placement import ask, placements, refusals, report
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
    """What NVIDIA's parser and builder say of an ONNX file, strongly typed.

    Args:
        artifact: ONNX.
        jetpack: generation whose parser's lists are gone through too; all of them unless given.

    Raises:
        UsageError: no such JetPack generation.
        MissingDependencyError: TensorRT-RTX is not installed.
        RuntimeFailedError: it died.
    """
    generation = generation_of(jetpack) if jetpack else ""
    outcome = ask("tensorrt.check:build", artifact, "tensorrt_rtx", "TensorRT")
    made = outcome.result
    refused = [tuple(node) for node in made["refused"]]
    against = {name: _lacks(made, row) for name, row in JETPACKS.items()}
    lists, notes = against.get(generation, []), _notes(against, generation)
    for_nano = generation == "4" or (not generation and not against["4"])
    if is_int8(artifact.manifest.scheme) and for_nano:
        notes.append(NO_INT8)
    errors = tuple(made["errors"])
    accepted = not errors and not lists
    return report(
        artifact,
        "jetson",
        unit="gpu",
        compiler="TensorRT-RTX",
        version=version(PACKAGE),
        accepted=accepted,
        delegated=accepted,
        placements=placements({"gpu": made["operators"]} if accepted else {}),
        refusals=refusals([*refused, *lists]),
        errors=errors,
        seconds=round(outcome.seconds, 1),
        notes=(*((NOT_JETSON, NO_LAYERS) if not errors else ()), *notes),
    )


def build(job: dict[str, Any]) -> dict[str, Any]:
    """Parse and build a file for SM86.

    Args:
        job: `path` of an ONNX file.

    Returns:
        `errors` in NVIDIA's words, none if it was built; `refused` operators as type, name and
        reason; `operators` by type, `opset` and `constants` that are int8 of the file.
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
        found = [parser.get_error(i) for i in range(parser.num_errors)]
        refused = [(e.node_operator(), e.node_name(), _why(e)) for e in found if e.node_operator()]
        errors = [str(e) for e in found] or log.messages or ["refused without a reason"]
        return {"errors": errors, "refused": refused, **_contents(job["path"])}
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    errors = []
    if builder.build_serialized_network(network, config) is None:
        errors = log.messages or ["not built, without a reason"]
    return {"errors": errors, "refused": [], **_contents(job["path"])}


def _why(error: Any) -> str:
    """The parser's description of one error; where that is empty, its code."""
    said = str(error.desc()).removeprefix("Assertion failed: ")
    return said if said not in ("", "false") else str(error.code().name).replace("_", " ").lower()


def _contents(path: str) -> dict[str, Any]:
    """What the lists of the older parsers are about."""
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


def _notes(against: dict[str, list[tuple[str, str, str]]], generation: str) -> list[str]:
    """What NVIDIA's lists say of the parsers that were not asked."""
    if generation:
        trt = f"TensorRT {JETPACKS[generation].tensorrt} of JetPack {generation}"
        return [f"{trt} was not asked: its opset and operators are taken from NVIDIA's lists"]
    fit = [name for name, lacking in against.items() if not lacking]
    told = f"fits JetPack {' and '.join(fit)}" if fit else "fits no JetPack generation known here"
    return [f"{told}, by NVIDIA's lists of opsets and operators"]


def _lacks(made: dict[str, Any], jetpack: Jetpack) -> list[tuple[str, str, str]]:
    trt = f"TensorRT {jetpack.tensorrt}"
    found: list[tuple[str, str, str]] = []
    if made["opset"] > jetpack.opset:
        why = f"{trt} takes opset {jetpack.opset} at most, not {made['opset']}"
        found.append(("opset", "", why))
    for operator in jetpack.lacks:
        count = made["operators"].get(operator, 0)
        found += [(operator, "", f"{trt} has no such operator")] * count
    if jetpack.float_weights:
        why = f"{trt} takes float weights in front of Q/DQ, no int8 constants"
        found += [("DequantizeLinear", "", why)] * made["int8_constants"]
    return found
