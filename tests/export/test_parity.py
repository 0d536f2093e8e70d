"""Both parities of a file: what they refuse, and what they say that it was compared with."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from test_onnx_graph import TRANSFORM, images
from test_onnx_graph import network as new_network

from edgenext.errors import ParityError
from edgenext.export.gate import Gate
from edgenext.export.onnx import onnx_graph
from edgenext.export.parity import (
    graph_label,
    in_units_of,
    measure_parity,
    onnx_reference,
    require_parity,
    torch_reference,
)
from edgenext.export.settings import resolve
from edgenext.formats.format import FORMATS, ROWS, ParityBound
from edgenext.formats.session import normalise
from edgenext.models.network import EdgeNeXt
from edgenext.options import ExportOptions
from edgenext.quantize.recipe import load_recipe
from edgenext.quantize.static import QuantizedGraph, quantize_static
from edgenext.schema import Parity
from edgenext.targets.scheme import ROWS as SCHEME_ROWS


@cache
def network() -> EdgeNeXt:
    return new_network()


@cache
def quantized() -> QuantizedGraph:
    """A graph whose streams are all rescaled, in 8 bits."""
    packaged = load_recipe("cpu-onnxruntime", "w8a8-static")
    assert packaged.equalise
    every_stream = packaged.equalise.model_copy(update={"streams": True, "least_db": 0.0})
    graph = onnx_graph(network(), "convT", (64, 64))
    recipe = packaged.model_copy(update={"equalise": every_stream})
    return quantize_static(graph, [normalise(x[None], TRANSFORM) for x in images(8)], recipe)


def scaled(model: onnx.ModelProto, part: str, factor: float) -> onnx.ModelProto:
    """A graph with some weights multiplied."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in copy.graph.initializer:
        if part in tensor.name:
            values = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return copy


@pytest.mark.parametrize(
    ("part", "factor", "named"),
    [("head.weight", 1e38, "logits"), ("stages.2.5.pwconv", 1e25, "stage3")],
)
def test_what_overflows_is_refused_and_named(part: str, factor: float, named: str) -> None:
    model = scaled(onnx_graph(network(), "convT", (64, 64)), part, factor)
    with pytest.raises(ParityError, match=f"the file's {named} has .* NaN or infinite"):
        measure_parity(model, torch_reference(network()), images(), TRANSFORM)


def test_a_graph_can_be_the_reference() -> None:
    model = onnx_graph(network(), "convT", (64, 64), pixels=TRANSFORM)
    parity = measure_parity(model, onnx_reference(model, "it.onnx"), images(), TRANSFORM)
    assert parity.reference == "it.onnx"
    assert parity.sqnr_db > 110  # one of the two is optimised, the other is run as it is written


def test_equal_outputs_have_a_finite_sqnr() -> None:
    parity = Parity(reference="it", n=1, max_abs=0, sqnr_db=200, agreement=100)
    assert parity.identical and Parity.model_validate_json(parity.model_dump_json()) == parity


def test_stages_are_compared_in_the_units_of_an_equalised_graph() -> None:
    net, graph = network(), quantized()
    reference = in_units_of(graph.reference, torch_reference(net), images(), TRANSFORM)
    assert reference.label == "PyTorch"
    parity = measure_parity(graph.reference, reference, images(), TRANSFORM)
    assert min(parity.sqnr_db, *parity.stages.values()) > 80 and len(parity.stages) == 5
    plain = measure_parity(graph.reference, torch_reference(net), images(), TRANSFORM)
    assert min(plain.stages.values()) < 40 < 80 < plain.sqnr_db  # the stages are in other units


def test_an_error_of_equalising_is_not_on_both_sides() -> None:
    """The float graph of a quantized file is itself held against PyTorch."""
    wrong = scaled(quantized().reference, "stages.1.0.pwconv1", 1.01)
    with pytest.raises(ParityError, match="equalised graph does not agree with PyTorch: stage2"):
        in_units_of(wrong, torch_reference(network()), images(), TRANSFORM)


def parity(db: float, **stages: float) -> Parity:
    return Parity(
        reference="its Q/DQ graph", n=4, max_abs=1, sqnr_db=db, agreement=0, stages=stages
    )


def gate(scheme: str, least_db: float | None, engine: str = "") -> Gate:
    bounds = {} if least_db is None else {scheme: ParityBound(least_db=least_db, measured="here")}
    return Gate(resolve(ExportOptions(format="tflite"), scheme, engine), bounds, "it.tflite")


def test_a_conversion_is_held_against_its_graph() -> None:
    close = gate("w8a8-static", 28)
    close.require_conversion(parity(28.5, stage1=29), parity(40, stage1=40))
    with pytest.raises(ParityError, match=r"with its Q/DQ graph: logits .* 22.0 dB .* 26 dB"):
        close.require_conversion(parity(22), parity(29))  # sums that are known to be wrong
    with pytest.raises(ParityError, match="stage1 is the first to diverge"):
        close.require_conversion(parity(30, stage1=27), parity(40, stage1=40))
    # a graph that is coarse itself cannot be matched any closer
    close.require_conversion(parity(12.1), parity(15))
    with pytest.raises(ParityError, match="at least 20 dB"):
        gate("w8a16-static", None).require_conversion(parity(19), parity(40))
    gate("w8a8-static", 28, "nncf").require_conversion(parity(1), parity(40))  # is only shown


def test_every_bound_is_of_a_scheme_and_says_what_was_measured() -> None:
    for row in ROWS:
        converters = [row.converter, *row.converters.values()]
        for bounds in (row.parity, *(c.parity for c in converters if c)):
            assert bounds.keys() <= SCHEME_ROWS.keys() - set(row.refuses)
            assert all("dB" in bound.measured for bound in bounds.values())
    bounded = {row.name for row in FORMATS.values() if row.converter and row.converter.parity}
    assert bounded >= {"openvino", "coreml", "tflite", "executorch"}


def test_the_gate_of_onnx_files() -> None:
    for scheme in ("fp32", "fp16", "bf16", "w8-weight-only"):
        settings = resolve(ExportOptions(target="cpu-openvino"), scheme)
        with pytest.raises(ParityError):
            Gate(settings, {}, "it.onnx").require_graph(parity(5))
    settings = resolve(ExportOptions(), "w8a8-static")
    (warning,) = Gate(settings, {}, "it.onnx").require_graph(parity(5))
    assert "5.0 dB" in warning
    assert Gate(settings, {}, "it.onnx").require_graph(parity(30)) == ()


def test_a_graph_is_named_by_what_it_is() -> None:
    assert graph_label(onnx_graph(network(), "convT", (64, 64))) == "its float graph"
    assert graph_label(quantized().model) == "its Q/DQ graph"


def test_the_least_of_all_stages_is_named() -> None:
    require_parity(parity(80, stem=80), 80, "it")
    with pytest.raises(ParityError, match="it does not agree with its Q/DQ graph: stem"):
        require_parity(parity(90, stem=79.9, stage1=10), 80, "it")
