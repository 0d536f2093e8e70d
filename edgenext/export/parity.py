"""Parity: does an exported file agree with the PyTorch network, stage by stage, on real images?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import ParityError
from edgenext.export.onnx import STAGES, call_size, tensor_spec, with_stage_outputs
from edgenext.formats.onnx.session import inference_session
from edgenext.formats.session import Images, Session, Traceable, filled, logits, normalise
from edgenext.graph.tensors import locate_tensors, signal_and_noise
from edgenext.metrics.fidelity import fidelity, sqnr_db
from edgenext.schema import EvalTransform, Parity
from edgenext.targets.scheme import ROWS

if TYPE_CHECKING:
    import onnx

    from edgenext.models.network import EdgeNeXt

Array = NDArray[np.float32]

Reference = Callable[[Images, Array], dict[str, Array]]
"""From images, and the same normalised to N×3×H×W, to the tensors `STAGES` and `logits`."""


MIN_SQNR_DB = {name: scheme.least_db for name, scheme in ROWS.items()}
"""Scheme → least SQNR of any stage in dB; targets/schemes.toml derives them."""


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
    for batch in _batches(images, probe.batch):
        inputs = normalise(batch, transform)
        expected = reference(batch, inputs)
        for name, value in probe.run(batch, inputs).items():
            ours[name].append(value)
            theirs[name].append(expected[name])
    joined = {n: (np.concatenate(theirs[n]), np.concatenate(ours[n])) for n in probe.names}
    stages = {n: sqnr_db(*signal_and_noise(*joined[n])) for n in STAGES if n in joined}
    return _parity(*joined[probe.outputs[-1]], stages)


def session_parity(
    session: Session,
    reference: Reference,
    images: Images,
    transform: EvalTransform,
    sites: Mapping[str, Array],
) -> tuple[Parity, dict[str, str]]:
    """Run a file of any format and its reference on the same images.

    Its tensors have other names and layouts: those of the stages and sites are found by value, on
    the first image. A file whose runtime shows no tensors is judged by its logits alone.

    Args:
        session: the file, loaded.
        reference: what it should agree with.
        images: N×H×W×3 uint8.
        transform: the normalisation.
        sites: the reference's tensors for the first batch, by site.

    Returns:
        The parity, and the file's tensor for every site.
    """
    size = session.batch or 1
    parts = list(_batches(images, size))
    expected = [reference(part, normalise(part, transform)) for part in parts]
    base = np.concatenate([e["logits"] for e in expected])[: len(images)]
    other = np.concatenate(list(logits(session, images, size)))
    if not isinstance(session, Traceable):
        return _parity(base, other, {}), {}
    wanted, traced = expected[0], session.trace(session.prepare(parts[0]))
    at = locate_tensors(wanted, traced)
    stages = {n: sqnr_db(*signal_and_noise(wanted[n], traced[at[n]])) for n in STAGES if n in at}
    return _parity(base, other, stages), locate_tensors(sites, traced)


def _batches(images: Images, size: int) -> Iterator[Images]:
    """Images in batches of one size; the last is filled by repetition."""
    for start in range(0, len(images), size):
        yield filled(images[start : start + size], size)


def _parity(base: Array, other: Array, stages: dict[str, float]) -> Parity:
    near = fidelity(base.reshape(len(base), -1), other.reshape(len(other), -1))
    return Parity(
        n=len(base),
        max_abs=float(np.abs(base - other).max()),
        sqnr_db=round(near.sqnr_db, 2),
        agreement=near.agreement,
        stages={name: round(value, 2) for name, value in stages.items()},
    )


def require_parity(parity: Parity, scheme: str, name: str) -> None:
    """Refuse a file that left the network's path.

    Raises:
        ParityError: naming the first stage that diverges.
    """
    least = MIN_SQNR_DB[scheme]
    for stage, value in (*parity.stages.items(), ("logits", parity.sqnr_db)):
        if not value >= least:  # NaN is a failure too
            raise ParityError(
                f"{name} does not agree with its float network: {stage} is the first to diverge, "
                f"at {value:.1f} dB SQNR (at least {least:.0f} dB are needed for {scheme})"
            )
