"""Statistics that a graph computes itself are those of its tensors, read whole."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import LiftConstantsToInitializersPass
from quantized_graphs import SIZE, batches, network, pictures, recipe

from edgenext.errors import DataError
from edgenext.export.onnx import onnx_graph
from edgenext.formats.onnx.session import inference_session
from edgenext.quantize.layer_inputs import RowSampler, input_rows
from edgenext.quantize.moments import kept_inputs
from edgenext.quantize.plan import make_plan
from edgenext.quantize.statistics_graph import StatisticsGraph


def whole_tensors(
    model: onnx.ModelProto, names: list[str], batch: np.ndarray
) -> dict[str, np.ndarray]:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    inner = [name for name in names if name not in {"input", "logits"}]
    for name in inner:
        probe.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        )
    session = inference_session(probe.SerializeToString(), 1)
    outputs = session.run(["logits", *inner], {"input": batch})
    return dict(zip(["logits", *inner], outputs, strict=True)) | {"input": batch}


@pytest.mark.parametrize(
    ("opset", "fixed_batch", "images"), [(20, 1, 1), (13, 1, 1), (20, None, 1), (20, 3, 3)]
)
def test_they_are_those_of_the_tensors(opset: int, fixed_batch: int | None, images: int) -> None:
    model = onnx_graph(network(), "convT", SIZE, batch=fixed_batch, opset=opset)
    lifted = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    LiftConstantsToInitializersPass(size_limit=0)(lifted)
    plan = make_plan(lifted.graph, recipe())
    kernels = kept_inputs(plan)
    names = list(dict.fromkeys((*(t.name for t in plan.tensors), *kernels)))
    assert set(kernels.values()) == {1, 2}
    batch = pictures(3, images)
    tensors = whole_tensors(model, names, batch)

    graph = StatisticsGraph(model, names, kernels, batch.shape)
    assert graph.shapes == {name: tensors[name].shape for name in names}
    rng, sampler = np.random.default_rng(0), RowSampler(kernels, 100)
    at = {name: rng.integers(0, tensors[name].size, 50) for name in names}
    rows = {name: sampler.positions(name, tensors[name].shape) for name in kernels}
    assert any(picked is None for picked in rows.values()), "all rows of small tensors"
    statistics = graph.read(batch, at, rows)
    for name in names:
        actual, x = statistics[name], tensors[name]
        axes = tuple(axis for axis in range(x.ndim) if axis != 1)
        np.testing.assert_array_equal(actual.low, x.min(axes), err_msg=name)
        np.testing.assert_array_equal(actual.high, x.max(axes), err_msg=name)
        np.testing.assert_array_equal(actual.values, x.reshape(-1)[at[name]], err_msg=name)
        if name not in kernels:
            assert actual.rows is None
            continue
        expected = input_rows(x, kernels[name], rows[name])
        assert expected.shape == sampler.shape(name, x.shape)
        np.testing.assert_array_equal(actual.rows, expected, err_msg=name)


def test_what_is_not_a_number_is_refused() -> None:
    """Also where a minimum or maximum would not show it."""
    model = onnx_graph(network(), "convT", SIZE)
    (batch,) = batches(1)
    graph = StatisticsGraph(model, ["input"], {}, batch.shape)
    position = {"input": np.zeros(1, np.int64)}
    assert graph.read(batch, position, {})["input"].values == batch.reshape(-1)[:1]
    spoiled = batch.copy()
    spoiled[0, 1, 5, 5] = np.nan
    with pytest.raises(DataError, match="not finite"):
        graph.read(spoiled, position, {})
