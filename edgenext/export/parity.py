"""Parity: whether a file agrees with its references, stage by stage, on real images.

Both sides compute with one thread: sums in another order differ in their last digits, and a
manifest is to be the same bytes on any machine of a kind.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import ParityError
from edgenext.export.onnx import STAGES, call_size, tensor_spec, with_stage_outputs
from edgenext.formats.onnx.session import inference_session
from edgenext.formats.session import Images, Session, Traceable, filled, normalise, outputs
from edgenext.graph.tensors import locate_tensors, signal_and_noise
from edgenext.metrics.fidelity import fidelity, sqnr_db
from edgenext.schema import LOGITS, PYTORCH, EvalTransform, Manifest, Parity
from edgenext.system.threads import in_threads, torch_threads
from edgenext.targets.scheme import FLOAT, ROWS

if TYPE_CHECKING:
    import onnx

    from edgenext.models.network import EdgeNeXt

Array = NDArray[np.float32]

ROUNDING_DB = 3.0
"""How much better than its file a graph may agree with the network.

A file that rounds the same values at other places has a rounding noise of its own, as large as that
of its graph. The two noises add up to twice the power: 3 dB.
"""


@dataclass(frozen=True)
class Reference:
    """What a file is compared with.

    `label` names it in manifests and messages. `run` maps images, and the same normalised to
    N×3×H×W, to the tensors `STAGES` and `logits`.
    """

    label: str
    run: Callable[[Images, Array], dict[str, Array]]


@dataclass(frozen=True)
class Outputs:
    """What a file computes of N images: its outputs, and its stages where it shows tensors.

    `results` are the logits, or the feature maps of a backbone, N×C×H×W. `sites` maps the sites of
    its float graph to its tensors.
    """

    results: dict[str, Array]
    stages: dict[str, Array]
    sites: dict[str, str]


def torch_reference(network: EdgeNeXt) -> Reference:
    """The stages and logits of a network."""
    import torch

    def run(_: Images, inputs: Array) -> dict[str, Array]:
        with torch.no_grad(), torch_threads(1):
            features = network.features(torch.from_numpy(inputs))
            named = dict(zip(STAGES, features, strict=True))
            if not network.features_only:
                named[LOGITS] = network.classify(features[-1])
        return {name: value.numpy() for name, value in named.items()}

    return Reference(PYTORCH, run)


class _StageReader:
    """A graph with its stages as outputs; its input is normalised images or pixels.

    A graph that is a reference is run as it is written: optimised, some integer kernels saturate.
    """

    def __init__(self, model: onnx.ModelProto, *, optimised: bool) -> None:
        self.pixels = tensor_spec(model.graph.input[0]).dtype == "uint8"
        self.batch = call_size(model)
        self.outputs = [o.name for o in model.graph.output]
        content = with_stage_outputs(model).SerializeToString()
        self._session = inference_session(content, 1, optimised=optimised)
        self.names = [o.name for o in self._session.get_outputs()]

    def run(self, images: Images, inputs: Array) -> dict[str, Array]:
        values = self._session.run(self.names, {"input": images if self.pixels else inputs})
        return {n: v.astype(np.float32) for n, v in zip(self.names, values, strict=True)}


def onnx_reference(model: onnx.ModelProto, label: str) -> Reference:
    """The stages and logits of a graph, float or Q/DQ, as it is written."""
    return Reference(label, _StageReader(model, optimised=False).run)


def graph_label(model: onnx.ModelProto) -> str:
    """What a graph is called as the reference of the file that is made from it."""
    from onnx import TensorProto

    if any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return "its Q/DQ graph"
    half = any(t.data_type == TensorProto.FLOAT16 for t in model.graph.initializer)
    return "its float16 graph" if half else "its float graph"


def in_units_of(
    model: onnx.ModelProto, reference: Reference, images: Images, transform: EvalTransform
) -> Reference:
    """A reference whose stages have the channel scales of a graph that computes the same.

    Equalising divides the channels of a graph's inner tensors. The factor of each channel is
    measured on the images; up to these factors the graph must agree with the reference.

    Args:
        model: the float graph of a quantized file, equalised or not.
        reference: what it was made from.
        images: N×H×W×3 uint8.
        transform: the normalisation.

    Raises:
        ParityError: the graph does not compute what the reference does.
    """
    reader, known = _StageReader(model, optimised=True), remembered(reference)
    expected, actual = _both(reader, known, images, transform)
    factors = {name: _channel_factors(expected[name], actual[name]) for name in _stages(actual)}

    def run(images: Images, inputs: Array) -> dict[str, Array]:
        values = known.run(images, inputs)
        return {name: value * factors.get(name, 1.0) for name, value in values.items()}

    rescaled = {name: value * factors.get(name, 1.0) for name, value in expected.items()}
    parity = _parity(reference.label, rescaled, actual, reader.outputs)
    require_parity(parity, ROWS[FLOAT].least_db, "the equalised graph")
    return Reference(reference.label, run)


def remembered(reference: Reference) -> Reference:
    """The reference, which computes nothing twice."""
    values: dict[bytes, dict[str, Array]] = {}

    def run(images: Images, inputs: Array) -> dict[str, Array]:
        key = hashlib.sha256(images.tobytes()).digest()
        if key not in values:
            values[key] = reference.run(images, inputs)
        return values[key]

    return Reference(reference.label, run)


def _channel_factors(value: Array, other: Array) -> Array:
    """For each channel, axis 1, the factor by which `value` comes nearest to `other`."""
    a, b = value.astype(np.float64), other.astype(np.float64)
    axes = tuple(axis for axis in range(a.ndim) if axis != 1)
    products, squares = (np.sum(x, axes, keepdims=True) for x in (a * b, a * a))
    ratio = np.divide(products, squares, out=np.ones_like(squares), where=squares > 0)
    return np.asarray(ratio, np.float32)


def measure_parity(
    model: onnx.ModelProto, reference: Reference, images: Images, transform: EvalTransform
) -> Parity:
    """Run a graph and a reference on the same images.

    Args:
        model: an exported graph, float or quantized.
        reference: what it should agree with.
        images: N×H×W×3 uint8.
        transform: the normalisation.

    Raises:
        ParityError: a value of either is NaN or infinite.
    """
    reader = _StageReader(model, optimised=True)
    return _parity(reference.label, *_both(reader, reference, images, transform), reader.outputs)


def _both(
    reader: _StageReader, reference: Reference, images: Images, transform: EvalTransform
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The tensors of a reference and of a graph, for all images."""

    def run(batch: Images) -> tuple[dict[str, Array], dict[str, Array]]:
        inputs = normalise(batch, transform)
        return reference.run(batch, inputs), reader.run(batch, inputs)

    # for all of them: a reference's own setting would end before others do
    with torch_threads(1) if "torch" in sys.modules else nullcontext():
        pairs = list(in_threads(run, _batches(images, reader.batch)))
    return (
        {name: np.concatenate([expected[name] for expected, _ in pairs]) for name in reader.names},
        {name: np.concatenate([actual[name] for _, actual in pairs]) for name in reader.names},
    )


def run_file(
    session: Session,
    manifest: Manifest,
    reference: Reference,
    images: Images,
    transform: EvalTransform,
    sites: Mapping[str, Array],
) -> Outputs:
    """Run a file of any format.

    Its tensors may have other names and layouts: stages and sites are located by their values, on
    the first batch. If the runtime gives no access to tensors, there are only the outputs.

    Args:
        session: the file, loaded.
        manifest: of the file.
        reference: with the stages that are to be located, in the file's units.
        images: N×H×W×3 uint8.
        transform: the normalisation.
        sites: the reference's tensors for the first batch, by site.
    """
    size = session.batch or 1
    results = outputs(session, manifest, images, size)
    if not isinstance(session, Traceable):
        return Outputs(results, {}, {})
    first = filled(images, size)
    expected = reference.run(first, normalise(first, transform))
    traced = session.trace(session.prepare(first))
    names = locate_tensors(expected, traced)
    inner = [name for name in STAGES if name in names and name not in results]
    stages = {name: traced[names[name]] for name in inner}
    return Outputs(results, stages, locate_tensors(sites, traced))


def file_parity(
    file: Outputs, reference: Reference, images: Images, transform: EvalTransform, size: int
) -> Parity:
    """The agreement of a file's outputs with a reference; stages are compared on the first batch.

    Args:
        file: its outputs.
        reference: what it should agree with.
        images: those that the file was run on, N×H×W×3 uint8.
        transform: the normalisation.
        size: the file's batch.

    Raises:
        ParityError: a value of either is NaN or infinite.
    """
    expected = [reference.run(b, normalise(b, transform)) for b in _batches(images, size)]
    base = {
        name: np.concatenate([values[name] for values in expected])[: len(images)]
        for name in file.results
    }
    first = {name: expected[0][name] for name in file.stages}
    return _parity(reference.label, first | base, file.stages | file.results, list(file.results))


def _batches(images: Images, size: int) -> Iterator[Images]:
    """Images in batches of one size; the last is filled up by repetition."""
    for start in range(0, len(images), size):
        yield filled(images[start : start + size], size)


def _stages(tensors: Mapping[str, Array]) -> Sequence[str]:
    return [name for name in STAGES if name in tensors]


def _parity(
    label: str,
    expected: Mapping[str, Array],
    actual: Mapping[str, Array],
    results: Sequence[str],
) -> Parity:
    """Agreement of named tensors, of which some are the file's outputs: the worst decides."""
    names = _stages(actual)
    for name in dict.fromkeys((*names, *results)):
        _require_finite(expected[name], f"{name} of {label}")
        _require_finite(actual[name], f"the file's {name}")
    pairs = {name: signal_and_noise(expected[name], actual[name]) for name in names}
    stages = {name: round(sqnr_db(*pair), 2) for name, pair in pairs.items()}
    if LOGITS in results:
        comparison = fidelity(expected[LOGITS], actual[LOGITS])
        least, agreement = round(comparison.sqnr_db, 2), comparison.agreement
    else:
        least, agreement = min(stages[name] for name in results), None
    return Parity(
        reference=label,
        n=len(expected[results[0]]),
        max_abs=max(_largest_difference(expected[name], actual[name]) for name in results),
        sqnr_db=least,
        agreement=agreement,
        stages=stages,
    )


def _largest_difference(one: Array, other: Array) -> float:
    return float(np.abs(one.astype(np.float64) - other).max())


def _require_finite(values: Array, name: str) -> None:
    """Refuse tensors from which nothing can be concluded.

    Raises:
        ParityError: values that are NaN or infinite.
    """
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ParityError(
            f"{name} has {bad} of {values.size} values that are NaN or infinite",
            "Its arithmetic overflows: `edgenext check FILE --range` on its float file names where",
        )


def require_parity(parity: Parity, least_db: float, name: str, graph: Parity | None = None) -> None:
    """Refuse a file that does not agree with its reference.

    Args:
        parity: as measured.
        least_db: the least SQNR of any stage and of the logits or any other output, in dB.
        name: of the file.
        graph: where the reference is a graph, its own parity with the network; `ROUNDING_DB` below
            it is enough.

    Raises:
        ParityError: with the name of the first stage that diverges.
    """
    own = graph.tensors if graph else {}
    for stage, value in parity.tensors.items():
        least = min(least_db, own[stage] - ROUNDING_DB) if own else least_db
        if value < least:
            raise ParityError(
                f"{name} does not agree with {parity.against}: {stage} is the first to diverge, "
                f"at {value:.1f} dB SQNR (at least {least:.3g} dB are needed)"
            )
