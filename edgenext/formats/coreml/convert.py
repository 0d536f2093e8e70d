"""ONNX deployment graph → Core ML program, through torch.export and coremltools.

Q/DQ become Core ML's quantize and dequantize, int8 weights become compressed constants. Unlike
Apple's own quantizer of activations, this does not need a Mac.
"""

from __future__ import annotations

import json
import sys
import uuid
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenext.errors import ArtifactError
from edgenext.formats.artifact import numbered
from edgenext.schema import LOGITS

if TYPE_CHECKING:
    import onnx
    import torch


UNUSED = ("executorch", "torchao")
"""Packages that coremltools imports where they are installed, for 8 seconds, and that are not
needed here."""


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Write an .mlpackage.

    Args:
        job: `graph` and `out` are paths; `scheme`; `ios`, the oldest system; `image`, whether the
            package takes an image and gives class names; `features`, the names of the outputs
            of a backbone, which has no classes; `arch`, `eval`, `class_names` and
            `num_classes` of the network.
    """
    for name in UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    package = _converted(job)
    if job["scheme"] in COMPRESSIONS:
        package = COMPRESSIONS[job["scheme"]](package)
    _describe(package, job)
    out = Path(job["out"])
    package.save(str(out))
    make_reproducible(out)
    result: dict[str, Any] = {"tool": f"coremltools {version('coremltools')}"}
    return result | ({"class_names": _class_names(job)} if _is_classifier(job) else {})


def _is_classifier(job: dict[str, Any]) -> bool:
    return bool(job["image"]) and not job.get("features")


def _converted(job: dict[str, Any]) -> Any:
    """The graph as a Core ML model, before its weights are compressed."""
    import coremltools as ct

    program, shape = _torch_program(job)
    classifier, half = _is_classifier(job), job["scheme"] != "fp32"
    outputs = [ct.TensorType(name) for name in (job.get("features") or (LOGITS,))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ct.convert(
            program.run_decompositions({}),
            convert_to="mlprogram",
            inputs=[_input(job, shape)],
            outputs=None if classifier else outputs,
            classifier_config=ct.ClassifierConfig(_class_names(job)) if classifier else None,
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            minimum_deployment_target=getattr(ct.target, f"iOS{_ios(job)}"),
            pass_pipeline=_passes(),
            skip_model_load=True,
        )


def _torch_program(job: dict[str, Any]) -> tuple[torch.export.ExportedProgram, list[int]]:
    """The graph as a program of torch, which coremltools reads, and the shape of its input."""
    import onnx
    import torch

    from edgenext.formats.torch_graph import example_input, torch_graph

    model = onnx.load(job["graph"])
    if job["image"]:
        _with_float_image(model)
    network: torch.nn.Module = torch_graph(model, half=job["scheme"] != "fp32")
    shape = list(example_input(model).shape)
    if job["image"]:  # the graph takes pixels, channels last; Core ML's images have them first
        network = _on_image(network, classifies=_is_classifier(job))
        shape = [shape[0], shape[3], shape[1], shape[2]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(network.eval(), (torch.zeros(shape),)), shape


def _with_float_image(model: onnx.ModelProto) -> None:
    """Replace the dequantization of a Q/DQ graph's pixels, in place.

    In the graph pixels are bytes of scale 1 and zero point 0; Core ML passes an image's pixels as
    floats of the same values, to which there is nothing to dequantize.
    """
    import onnx
    from onnx import numpy_helper

    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    pixels = {model.graph.input[0].name}
    for node in model.graph.node:
        if node.op_type == "Transpose" and node.input[0] in pixels:
            pixels.add(node.output[0])
        if node.op_type == "DequantizeLinear" and node.input[0] in pixels:
            scale, zero = (constants[name] for name in node.input[1:])
            if scale != 1 or zero != 0:
                raise ArtifactError(
                    "a graph whose pixels are scaled cannot take an image", "Leave out the image"
                )
            node.CopyFrom(
                onnx.helper.make_node(
                    "Cast", [node.input[0]], list(node.output), node.name, to=onnx.TensorProto.FLOAT
                )
            )


SINCE = {"w8a8-static": 17, "w4a8-static": 18}
"""The first iOS whose programs can have quantized activations, and int4 weights, which coremltools
makes of int8 ones that fit."""


def _ios(job: dict[str, Any]) -> int:
    ios = int(job["ios"])
    return max(ios, SINCE.get(job["scheme"], ios))


def _passes() -> Any:
    """Coremltools' passes without the one that adds an epsilon of 1e-5 to products with a bias."""
    import coremltools as ct

    passes = ct.PassPipeline()
    passes.remove_passes({"common::fuse_elementwise_to_batchnorm"})
    return passes


def _input(job: dict[str, Any], shape: list[int]) -> Any:
    import coremltools as ct

    if job["image"]:
        return ct.ImageType("image", shape=shape, color_layout=ct.colorlayout.RGB)
    return ct.TensorType("image", shape=shape)


def _class_names(job: dict[str, Any]) -> list[str]:
    """A distinct name for each class, because Core ML's results go by name."""
    return numbered([*(job["class_names"] or map(str, range(job["num_classes"])))])


def _on_image(graph: torch.nn.Module, *, classifies: bool) -> torch.nn.Module:
    """The graph on images with channels first; of a classifier with probabilities as its output."""
    import torch

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = graph

        def forward(self, image: torch.Tensor) -> Any:
            result = self.network(image.permute(0, 2, 3, 1))
            return result.softmax(-1) if classifies else result

    return Classifier()


def _palettized(package: Any, bits: int) -> Any:
    """Weights as indices into a table for each layer, from k-means.

    scikit-learn's k-means depends on the number of threads: with one, files are the same anywhere.
    """
    from coremltools.optimize import coreml as optimize
    from threadpoolctl import threadpool_limits

    config = optimize.OpPalettizerConfig(mode="kmeans", nbits=bits)
    with threadpool_limits(1):
        return optimize.palettize_weights(
            package, optimize.OptimizationConfig(global_config=config)
        )


def _int8_weights(package: Any) -> Any:
    """Weights in int8, with a scale for each output channel."""
    from coremltools.optimize import coreml as optimize

    config = optimize.OpLinearQuantizerConfig(mode="linear_symmetric")
    return optimize.linear_quantize_weights(
        package, optimize.OptimizationConfig(global_config=config)
    )


COMPRESSIONS: dict[str, Callable[[Any], Any]] = {
    "w8-weight-only": _int8_weights,
    "w6-palettized": partial(_palettized, bits=6),
    "w4-palettized": partial(_palettized, bits=4),
}
"""Schemes that compress weights only → how they change the float package."""


def _describe(package: Any, job: dict[str, Any]) -> None:
    transform = job["eval"]
    package.input_description["image"] = (
        f"{transform['size']} px: short side to {int(transform['size'] / transform['crop_pct'])}, "
        f"centre crop, {'RGB' if job['image'] else 'normalised'}"
    )


def make_reproducible(package: Path) -> None:
    """Remove from a package what differs from one conversion to the next.

    Items get identifiers that follow from their paths; the specification is serialised in a fixed
    order, without its date. A file that the package's own manifest does not list is removed.
    """
    from coremltools import proto

    manifest = json.loads((package / "Manifest.json").read_bytes())
    entries = sorted(manifest["itemInfoEntries"].items(), key=lambda entry: entry[1]["path"])
    names = {old: str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])) for old, item in entries}
    manifest["itemInfoEntries"] = {names[old]: item for old, item in entries}
    root = manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    path = package / "Data" / manifest["itemInfoEntries"][root]["path"]
    spec = proto.Model_pb2.Model.FromString(path.read_bytes())
    spec.description.metadata.userDefined.pop("com.github.apple.coremltools.conversion_date", None)
    path.write_bytes(spec.SerializeToString(deterministic=True))
    path.chmod(0o644)
    text = json.dumps(manifest, indent=4, sort_keys=True) + "\n"
    (package / "Manifest.json").write_text(text)
    (package / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)
