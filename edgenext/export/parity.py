"""Parity: does an exported graph agree with the PyTorch network, stage by stage, on real images?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import ParityError
from edgenext.export.onnx import STAGES, call_size, tensor_spec, with_stage_outputs
from edgenext.runtimes.base import Images, normalise
from edgenext.runtimes.fidelity import fidelity, sqnr_db
from edgenext.runtimes.onnxruntime import inference_session
from edgenext.schema import EvalTransform, Parity

if TYPE_CHECKING:
    import onnx

    from edgenext.models.network import EdgeNeXt

MIN_SQNR_DB = {"fp32": 80.0}
"""Least SQNR of any stage. FP32 graphs that reorder sums stand at 120–130 dB (float32's epsilon is
138 dB below one, and some hundred operations add to it); a wrong epsilon in a norm gives 50."""

Array = NDArray[np.float32]

Reference = Callable[[Images, Array], dict[str, Array]]
"""From images, and the same normalised to N×3×H×W, to the tensors `STAGES` and `logits`."""


def _sqnr_db(reference: Array, other: Array) -> float:
    """SQNR of a whole tensor in dB."""
    wide = reference.astype(np.float64)
    return sqnr_db(float(np.square(wide).sum()), float(np.square(other - wide).sum()))


def torch_reference(network: EdgeNeXt) -> Reference:
    """A reference network's stages and logits."""
    import torch

    def run(_: Images, inputs: Array) -> dict[str, Array]:
        with torch.no_grad():
            features = network.features(torch.from_numpy(inputs))
            named = dict(zip(STAGES, features, strict=True))
            if not network.features_only:
                named["logits"] = network.classify(features[-1])
        return {name: value.numpy() for name, value in named.items()}

    return run


class _Probe:
    """A graph whose stages can be read; takes normalised inputs or pixels, as it was made."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.pixels = tensor_spec(model.graph.input[0]).dtype == "uint8"
        self.batch = call_size(model)
        self.outputs = [o.name for o in model.graph.output]
        self._session = inference_session(with_stage_outputs(model).SerializeToString(), 0)
        self.names = [o.name for o in self._session.get_outputs()]

    def run(self, images: Images, inputs: Array) -> dict[str, Array]:
        values = self._session.run(self.names, {"input": images if self.pixels else inputs})
        return dict(zip(self.names, values, strict=True))


def onnx_reference(model: onnx.ModelProto) -> Reference:
    """A float graph's stages and logits."""
    return _Probe(model).run


def measure_parity(
    model: onnx.ModelProto, reference: Reference, images: Images, transform: EvalTransform
) -> Parity:
    """Run a graph and its reference on the same images.

    The last output stands for the file: logits, or the last stage of a backbone.

    Args:
        model: an exported graph, float or quantized.
        reference: what it should agree with.
        images: N×H×W×3 uint8.
        transform: the normalisation.
    """
    probe = _Probe(model)
    ours: dict[str, list[Array]] = {n: [] for n in probe.names}
    theirs: dict[str, list[Array]] = {n: [] for n in probe.names}
    for start in range(0, len(images), probe.batch):
        batch = np.asarray(images[start : start + probe.batch])
        if len(batch) < probe.batch:
            batch = np.resize(batch, (probe.batch, *batch.shape[1:]))
        inputs = normalise(batch, transform)
        expected = reference(batch, inputs)
        for name, value in probe.run(batch, inputs).items():
            ours[name].append(value)
            theirs[name].append(expected[name])
    joined = {n: (np.concatenate(theirs[n]), np.concatenate(ours[n])) for n in probe.names}
    base, other = joined[probe.outputs[-1]]
    near = fidelity(base.reshape(len(base), -1), other.reshape(len(other), -1))
    return Parity(
        n=len(images),
        max_abs=float(np.abs(base - other).max()),
        sqnr_db=round(near.sqnr_db, 2),
        agreement=near.agreement,
        stages={n: round(_sqnr_db(*joined[n]), 2) for n in STAGES if n in joined},
    )


def require_parity(parity: Parity, precision: str, name: str) -> None:
    """Refuse a graph that left the network's path.

    Raises:
        ParityError: naming the first stage that diverges.
    """
    least = MIN_SQNR_DB[precision]
    for stage, value in (*parity.stages.items(), ("logits", parity.sqnr_db)):
        if not value >= least:  # NaN is a failure too
            raise ParityError(
                f"{name} does not agree with PyTorch: {stage} is the first to diverge, at "
                f"{value:.1f} dB SQNR (at least {least:.0f} dB are needed)"
            )
