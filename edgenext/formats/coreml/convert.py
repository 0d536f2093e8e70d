"""ONNX deployment graph → Core ML program, through torch.export and coremltools.

Q/DQ become Core ML's quantize and dequantize, int8 weights its compressed constants: what Apple's
own activation quantizer does needs a Mac, this does not.
"""

from __future__ import annotations

import json
import uuid
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import fx


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Write an .mlpackage.

    Args:
        job: `graph` and `out` are paths; `scheme`; `ios` the oldest system; `image` whether it
            takes an image and gives labels; `eval` and `labels` of the network.
    """
    import coremltools as ct
    import onnx
    import torch

    from edgenext.formats.torch_graph import example_input, torch_graph

    model = onnx.load(job["graph"])
    graph = torch_graph(model, half=job["scheme"] != "fp32")
    shape = list(example_input(model).shape)
    scheme = job["scheme"]
    if job["image"]:
        shape = [shape[0], shape[3], shape[1], shape[2]]
    network: torch.nn.Module = _classifier(graph) if job["image"] else graph
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(network.eval(), (torch.zeros(shape),))
        package = ct.convert(
            program.run_decompositions({}),
            convert_to="mlprogram",
            inputs=[_input(job, shape)],
            outputs=None if job["image"] else [ct.TensorType("logits")],
            classifier_config=ct.ClassifierConfig(_labels(job)) if job["image"] else None,
            compute_precision=(ct.precision.FLOAT32 if scheme == "fp32" else ct.precision.FLOAT16),
            minimum_deployment_target=getattr(ct.target, f"iOS{_ios(job)}"),
            pass_pipeline=_passes(),
            skip_model_load=True,
        )
    if scheme in COMPRESSIONS:
        package = COMPRESSIONS[scheme](package)
    _describe(package, job)
    out = Path(job["out"])
    package.save(str(out))
    make_reproducible(out)
    made: dict[str, Any] = {"tool": f"coremltools {version('coremltools')}"}
    return made | ({"labels": _labels(job)} if job["image"] else {})


QUANTIZED_SINCE = 17
"""The first iOS whose programs have quantized activations."""


def _ios(job: dict[str, Any]) -> int:
    asked = int(job["ios"])
    return max(asked, QUANTIZED_SINCE) if job["scheme"] == "w8a8-static" else asked


def _passes() -> Any:
    """Coremltools' own, but for the one that adds an epsilon of 1e-5 to products with a bias."""
    import coremltools as ct

    passes = ct.PassPipeline()
    passes.remove_passes({"common::fuse_elementwise_to_batchnorm"})
    return passes


def _input(job: dict[str, Any], shape: list[int]) -> Any:
    import coremltools as ct

    if job["image"]:
        return ct.ImageType("image", shape=shape, color_layout=ct.colorlayout.RGB)
    return ct.TensorType("image", shape=shape)


def _labels(job: dict[str, Any]) -> list[str]:
    """A name for each class; a second one of the same name is numbered, for results go by name."""
    names = [*(job["labels"] or map(str, range(job["num_classes"])))]
    again = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name} ({n + 1})" if n else name for name, n in zip(names, again, strict=True)]


def _classifier(graph: fx.GraphModule) -> torch.nn.Module:
    """Probabilities of images whose preprocessing is in the graph, which wants channels last."""
    import torch

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = graph

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(image.permute(0, 2, 3, 1))
            return logits.softmax(-1)

    return Classifier()


def _palettized(package: Any, bits: int) -> Any:
    """Each layer's weights as indices into a table that k-means has chosen."""
    from coremltools.optimize import coreml as optimize

    config = optimize.OpPalettizerConfig(mode="kmeans", nbits=bits)
    return optimize.palettize_weights(package, optimize.OptimizationConfig(global_config=config))


def _int8_weights(package: Any) -> Any:
    """Each layer's weights in bytes, a scale an output channel."""
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
"""Schemes that need no activations → what is done to the float package."""


def _describe(package: Any, job: dict[str, Any]) -> None:
    package.short_description = f"{job['arch']}, {job['scheme']}"
    package.version = version("coremltools")
    transform = job["eval"]
    package.input_description["image"] = (
        f"{transform['size']} px: short side to {int(transform['size'] / transform['crop_pct'])}, "
        f"centre crop, {'RGB' if job['image'] else 'normalised'}"
    )
    package.user_defined_metadata["edgenext.eval"] = json.dumps(transform, sort_keys=True)


def make_reproducible(package: Path) -> None:
    """Take out of a package what is random or of the day.

    Items get identifiers that follow from their paths; the specification is serialised in one
    order, without its date. What stands outside the package's own manifest is removed.
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
