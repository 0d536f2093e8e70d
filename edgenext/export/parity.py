"""Parity: whether an exported file agrees with its network, stage by stage, on real images.

Both sides compute with one thread: sums in another order differ in their last digits, and a
manifest is to be the same bytes on any machine of a kind.
"""

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
from edgenext.system.threads import torch_threads
from edgenext.targets.scheme import ROWS

if TYPE_CHECKING:
    import onnx

    from edgenext.models.network import EdgeNeXt

Array = NDArray[np.float32]

Reference = Callable[[Images, Array], dict[str, Array]]
"""From images, and the same normalised to N×3×H×W, to the tensors `STAGES` and `logits`."""

MIN_SQNR_DB = {name: scheme.least_db for name, scheme in ROWS.items()}
"""Scheme → least SQNR of any stage in dB, from targets/schemes.toml."""


def torch_reference(network: EdgeNeXt) -> Reference:
    """The stages and logits of a network."""
    import torch

    def run(_: Images, inputs: Array) -> dict[str, Array]:
        with torch.no_grad(), torch_threads(1):
            features = network.features(torch.from_numpy(inputs))
            named = dict(zip(STAGES, features, strict=True))
            if not network.features_only:
                named["logits"] = network.classify(features[-1])
        return {name: value.numpy() for name, value in named.items()}

    return run


class _StageReader:
    """A graph with its stages as outputs; its input is normalised images or pixels."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.pixels = tensor_spec(model.graph.input[0]).dtype == "uint8"
        self.batch = call_size(model)
        self.outputs = [o.name for o in model.graph.output]
        self._session = inference_session(with_stage_outputs(model).SerializeToString(), 1)
        self.names = [o.name for o in self._session.get_outputs()]

    def run(self, images: Images, inputs: Array) -> dict[str, Array]:
        values = self._session.run(self.names, {"input": images if self.pixels else inputs})
        return dict(zip(self.names, values, strict=True))


def onnx_reference(model: onnx.ModelProto) -> Reference:
    """The stages and logits of a float graph."""
    return _StageReader(model).run


def measure_parity(
    model: onnx.ModelProto, reference: Reference, images: Images, transform: EvalTransform
) -> Parity:
    """Run a graph and its reference on the same images.

    The last output is compared as the result: logits, or the last stage of a backbone.

    Args:
        model: an exported graph, float or quantized.
        reference: what it should agree with.
        images: N×H×W×3 uint8.
        transform: the normalisation.
    """
    reader = _StageReader(model)
    expected: dict[str, list[Array]] = {n: [] for n in reader.names}
    actual: dict[str, list[Array]] = {n: [] for n in reader.names}
    for batch in _batches(images, reader.batch):
        inputs = normalise(batch, transform)
        reference_values = reference(batch, inputs)
        for name, value in reader.run(batch, inputs).items():
            expected[name].append(reference_values[name])
            actual[name].append(value)
    pairs = {n: (np.concatenate(expected[n]), np.concatenate(actual[n])) for n in reader.names}
    stages = {n: sqnr_db(*signal_and_noise(*pairs[n])) for n in STAGES if n in pairs}
    return _parity(*pairs[reader.outputs[-1]], stages)


def session_parity(
    session: Session,
    reference: Reference,
    images: Images,
    transform: EvalTransform,
    sites: Mapping[str, Array],
) -> tuple[Parity, dict[str, str]]:
    """Run a file of any format and its reference on the same images.

    Its tensors may have other names and layouts: stages and sites are located by their values, on
    the first batch. If the runtime gives no access to tensors, only the logits are compared.

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
    batches = list(_batches(images, size))
    expected = [reference(batch, normalise(batch, transform)) for batch in batches]
    base = np.concatenate([values["logits"] for values in expected])[: len(images)]
    other = np.concatenate(list(logits(session, images, size)))
    if not isinstance(session, Traceable):
        return _parity(base, other, {}), {}
    first, traced = expected[0], session.trace(session.prepare(batches[0]))
    names = locate_tensors(first, traced)
    stages = {
        n: sqnr_db(*signal_and_noise(first[n], traced[names[n]])) for n in STAGES if n in names
    }
    return _parity(base, other, stages), locate_tensors(sites, traced)


def _batches(images: Images, size: int) -> Iterator[Images]:
    """Images in batches of one size; the last is filled up by repetition."""
    for start in range(0, len(images), size):
        yield filled(images[start : start + size], size)


def _parity(base: Array, other: Array, stages: dict[str, float]) -> Parity:
    comparison = fidelity(base.reshape(len(base), -1), other.reshape(len(other), -1))
    return Parity(
        n=len(base),
        max_abs=float(np.abs(base - other).max()),
        sqnr_db=round(comparison.sqnr_db, 2),
        agreement=comparison.agreement,
        stages={name: round(value, 2) for name, value in stages.items()},
    )


def require_parity(parity: Parity, scheme: str, name: str) -> None:
    """Refuse a file that does not agree with its reference.

    Raises:
        ParityError: with the name of the first stage that diverges.
    """
    least = MIN_SQNR_DB[scheme]
    for stage, value in (*parity.stages.items(), ("logits", parity.sqnr_db)):
        if not value >= least:  # NaN is a failure too
            raise ParityError(
                f"{name} does not agree with its float network: {stage} is the first to diverge, "
                f"at {value:.1f} dB SQNR (at least {least:.0f} dB are needed for {scheme})"
            )
