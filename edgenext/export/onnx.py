"""EdgeNeXt to ONNX: form → torch.onnx → onnxsim → checker."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgenext.errors import UsageError
from edgenext.export.settings import require_opset
from edgenext.export.simplify import simplify
from edgenext.formats.onnx.metadata import clear
from edgenext.formats.onnx.session import tensor_spec as tensor_spec
from edgenext.options import DEFAULT_OPSET
from edgenext.schema import FEATURES, LOGITS, EvalTransform

if TYPE_CHECKING:
    import onnx
    from torch import nn

    from edgenext.models.network import EdgeNeXt

STAGES = ("stem", *FEATURES)
"""Names of the tensors in every exported graph at which parity is measured."""

MAX_BATCH = 1024
"""Images a call; a larger graph would not fit into memory while it is traced."""


def onnx_graph(
    network: EdgeNeXt,
    form: str,
    size: tuple[int, int],
    *,
    batch: int | None = 1,
    opset: int = DEFAULT_OPSET,
    pixels: EvalTransform | None = None,
    cast_first: bool = False,
) -> onnx.ModelProto:
    """A checked ONNX graph of a network.

    The tensors of the stem and the stages are named as in `STAGES`.

    Args:
        network: a reference network in evaluation mode.
        form: one of `targets.target.FORMS`.
        size: height and width in pixels.
        batch: images a call, None for any number.
        opset: of the default ONNX domain.
        pixels: take N×H×W×3 uint8 and normalise inside.
        cast_first: cast pixels before they are transposed, not after that.

    Raises:
        UsageError: an unsupported opset, batch, form or size.
        CheckpointError: weights that are not finite.
        ParityError: the graph changed while it was simplified.
    """
    import onnx

    from edgenext.graph.forms import Deployable

    require_opset(opset)
    if batch is not None and not 1 <= batch <= MAX_BATCH:
        raise UsageError(f"unsupported batch {batch}", f"Use 1 to {MAX_BATCH}, or dynamic")
    module = Deployable(network, form, *size, pixels, cast_first).eval()
    outputs = output_names(network.features_only)
    names = [*outputs, *(s for s in STAGES if s not in outputs)]
    content = _traced(module, size, batch, opset, names, pixels is not None)
    model = simplify(onnx.load_from_string(content))
    del model.graph.output[len(outputs) :]
    model.producer_name = "edgenext"
    clear(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _traced(
    module: nn.Module,
    size: tuple[int, int],
    batch: int | None,
    opset: int,
    outputs: Sequence[str],
    pixels: bool,
) -> bytes:
    """The content of the ONNX file that torch's exporter writes of a module."""
    import torch

    # a traced batch of 1 would let the exporter drop dimensions that it believes to be constant
    rows = batch or 2
    shape = (rows, *size, 3) if pixels else (rows, 3, *size)
    example = torch.zeros(shape, dtype=torch.uint8 if pixels else torch.float32)
    axes = {name: {0: "batch"} for name in ("input", *outputs)} if batch is None else None
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # the newer exporter cannot write opsets below 18: without a message, it leaves 18 there
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            buffer,  # type: ignore[arg-type] # a file object works with this exporter
            input_names=["input"],
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=opset,
            dynamo=False,
        )
    return buffer.getvalue()


def call_size(model: onnx.ModelProto) -> int:
    """Images to run at once: the graph's batch, or one if it takes any number."""
    return max(tensor_spec(model.graph.input[0]).shape[0], 1)


def output_names(features_only: bool) -> tuple[str, ...]:
    """Names of a graph's outputs: logits, or the four stages of a backbone."""
    return FEATURES if features_only else (LOGITS,)


def with_stage_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph with those tensors of `STAGES` that it has as further outputs."""
    import onnx

    copy = onnx.shape_inference.infer_shapes(model)
    present = {o.name for o in copy.graph.output}
    types = {v.name: v.type.tensor_type.elem_type for v in copy.graph.value_info}
    computed = {name for node in copy.graph.node for name in node.output}
    for name in STAGES:
        if name in computed - present:
            kind = types.get(name, onnx.TensorProto.FLOAT)
            copy.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    return copy
