"""TFLite files in integers throughout: their tensors, and what they compute."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from integer_files import (
    RESOLVERS,
    SIZE,
    XXS,
    IntegerFile,
    artifact_from,
    file_logits,
    float_graph,
    integer_file,
    onnx_logits,
    pictures,
)
from onnx import helper, numpy_helper

from edgenext import api
from edgenext.errors import ArtifactError, DataError, UsageError
from edgenext.formats.ethos_u.check import check
from edgenext.formats.ethos_u.convert import convert
from edgenext.formats.ethos_u.norms import INVERSE_ROOT, LEAST_SIZE, decompose_norms
from edgenext.formats.ethos_u.ranges import float_ranges
from edgenext.formats.ethos_u.tensors import merge_axes
from edgenext.metrics.fidelity import fidelity
from edgenext.models import zoo
from edgenext.options import DataOptions, ExportOptions, ModelOptions, QuantizeOptions
from edgenext.quantize.recipe import load_recipe

litert = pytest.importorskip("ai_edge_litert.interpreter")

INTEGERS = ("int8", "int16", "int32", "int64")
BN = "edgenext_xx_small_bn_hs"
SMALL = ModelOptions(random_weights=True, num_classes=10, size=32)


@pytest.fixture(scope="module")
def xxs(tmp_path_factory: pytest.TempPathFactory) -> IntegerFile:
    return integer_file(tmp_path_factory.mktemp("integer"))


def opened(path: Path) -> litert.Interpreter:
    kind = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return litert.Interpreter(str(path), experimental_op_resolver_type=kind)


def written(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = ir.from_proto(onnx.shape_inference.infer_shapes(model))
    decompose_norms(graph.graph)
    return onnx.shape_inference.infer_shapes(ir.to_proto(graph))


def test_decomposed_norms_compute_the_same() -> None:
    plain, other = float_graph(XXS), written(float_graph(XXS))
    kinds = {node.op_type for node in other.graph.node}
    assert not kinds & {"LayerNormalization", "ReduceL2", "Clip", "Div", "Sqrt"}
    images = pictures()[:2]
    comparison = fidelity(onnx_logits(plain, images), onnx_logits(other, images))
    assert comparison.sqnr_db > 60  # ε stands at another place


def test_every_tensor_is_an_integer(xxs: IntegerFile) -> None:
    kinds = {np.dtype(t["dtype"]).name for t in opened(xxs.path).get_tensor_details()}
    assert kinds <= set(INTEGERS) and {"int8", "int16"} <= kinds


def test_input_and_output_are_int8(xxs: IntegerFile) -> None:
    loaded = opened(xxs.path)
    (source,), (result,) = loaded.get_input_details(), loaded.get_output_details()
    assert (source["dtype"], tuple(source["shape"])) == (np.int8, (1, *SIZE, 3))
    assert (result["dtype"], tuple(result["shape"])) == (np.int8, (1, 1000))


def test_products_of_activations_are_int8_and_residuals_int16(xxs: IntegerFile) -> None:
    loaded = opened(xxs.path)
    types = {t["index"]: t["dtype"] for t in loaded.get_tensor_details()}
    kinds: dict[str, set[type]] = {}
    for op in loaded._get_ops_details():
        kinds.setdefault(op["op_name"], set()).update(types[i] for i in op["outputs"])
    assert kinds["BATCH_MATMUL"] == kinds["GELU"] == {np.int8}
    assert kinds["ADD"] == kinds["MEAN"] == kinds["DEPTHWISE_CONV_2D"] == {np.int16}
    assert not set(kinds) & {"DEQUANTIZE", "SQRT", "DIV", "SQUARED_DIFFERENCE", "LOGISTIC"}


@pytest.mark.parametrize("resolver", RESOLVERS)
def test_it_computes_the_same_as_its_graph(xxs: IntegerFile, resolver: str) -> None:
    images = pictures()[8:]
    expected, logits = onnx_logits(xxs.quantized, images), file_logits(xxs.path, images, resolver)
    exact = onnx_logits(xxs.reference, images)
    sqnr_db = fidelity(exact, logits).sqnr_db  # the graph rounds neither images nor logits
    assert sqnr_db > fidelity(exact, expected).sqnr_db - 4
    assert sqnr_db > 28


@pytest.mark.parametrize("value", [0.0, -3.0, 30.0], ids=["grey", "dark", "far too bright"])
def test_images_without_contrast(xxs: IntegerFile, value: float) -> None:
    flat = np.full((1, 3, *SIZE), value, np.float32)
    for resolver in RESOLVERS:
        assert np.isfinite(file_logits(xxs.path, flat, resolver)).all()


def test_the_same_graph_gives_the_same_bytes(xxs: IntegerFile, tmp_path: Path) -> None:
    second = integer_file(tmp_path)
    assert second.path.read_bytes() == xxs.path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch",
    [
        a if a == BN else pytest.param(a, marks=pytest.mark.campaign)
        for a in zoo.arch_table()
        if a != XXS
    ],
)
def test_every_architecture(
    arch: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    other, images = integer_file(tmp_path, arch), pictures()[8:]
    exact = onnx_logits(other.reference, images)
    comparison = fidelity(exact, file_logits(other.path, images))
    record_property("sqnr_db", comparison.sqnr_db)
    graphs = fidelity(exact, onnx_logits(other.quantized, images)).sqnr_db
    assert comparison.sqnr_db > max(graphs - 5, 12)
    if find_spec("ethosu"):  # else test_ethos_u_check skips, and says what is missing
        artifact = artifact_from(other.path)
        configs = ("ethos-u55-256",) if arch == BN else ("ethos-u65-512", "ethos-u85-512")
        for config in configs:
            assert check(artifact, config=config).delegated, config


@pytest.mark.slow
def test_a_recipe_can_quantize_residuals_to_8_bits(tmp_path: Path) -> None:
    recipe = load_recipe("ethos-u")
    assert recipe.sites
    sites = recipe.sites.model_copy(update={"quantize": (*recipe.sites.quantize, "residual")})
    other = integer_file(tmp_path, recipe=recipe.model_copy(update={"sites": sites}))
    images = pictures()[8:]
    comparison = fidelity(onnx_logits(other.quantized, images), file_logits(other.path, images))
    assert comparison.sqnr_db > 20


def test_float_weights_are_refused(tmp_path: Path) -> None:
    graph, samples = tmp_path / "graph.onnx", tmp_path / "samples.npy"
    onnx.save(float_graph(XXS), graph)
    np.save(samples, pictures()[:1].transpose(0, 2, 3, 1))
    job = {"graph": str(graph), "samples": str(samples), "out": str(tmp_path / "it.tflite")}
    with pytest.raises(ArtifactError, match="has float weights"):
        convert(job | {"scheme": "w8a8-static"})
    with pytest.raises(UsageError, match="is w8a8-static, not fp32"):
        convert(job | {"scheme": "fp32"})


def test_batches_are_refused(tmp_path: Path) -> None:
    graph, model = tmp_path / "graph.onnx", onnx.ModelProto()
    model.CopyFrom(float_graph(XXS))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, graph)
    with pytest.raises(UsageError, match="takes one image"):
        convert({"graph": str(graph), "scheme": "w8a8-static"})


def test_calibration_that_overflows() -> None:
    model = onnx.shape_inference.infer_shapes(float_graph(XXS))
    with pytest.raises(DataError, match="not finite"):
        float_ranges(model, [np.full((1, 3, *SIZE), np.nan, np.float32)])


def test_a_row_of_zeros_has_a_finite_norm() -> None:
    nodes = [
        helper.make_node(INVERSE_ROOT, ["x", "power"], ["root"]),
        helper.make_node("Mul", ["x", "root"], ["y"]),
    ]
    sides = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    power = numpy_helper.from_array(np.asarray(-0.5, np.float32), "power")
    graph = helper.make_graph(nodes, "norm", sides[:1], sides[1:], [power])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    ranges = float_ranges(onnx.shape_inference.infer_shapes(model), [np.zeros(1, np.float32)])
    assert ranges["y"] == (0, 0)
    assert ranges["root"] == pytest.approx((LEAST_SIZE**-0.5,) * 2)


@pytest.mark.parametrize(
    ("shape", "taken", "expected"),
    [
        ((1, 8, 8, 12), (0, 3, 1, 2), ([1, 64, 12], [0, 2, 1])),
        ((1, 12, 8, 8), (0, 2, 3, 1), ([1, 12, 64], [0, 2, 1])),
        ((2, 4, 3, 12), (0, 2, 1, 3), ([1, 2, 4, 3, 12], [0, 1, 3, 2, 4])),
        ((1, 1, 5, 1), (0, 3, 1, 2), ([1, 5], [0, 1])),
    ],
)
def test_permutations_of_the_fewest_axes(
    shape: tuple[int, ...], taken: tuple[int, ...], expected: tuple[list[int], list[int]]
) -> None:
    assert merge_axes(shape, taken) == expected
    numbers = np.arange(np.prod(shape)).reshape(shape)
    sizes, moves = merge_axes(shape, taken)
    moved = numbers.reshape(sizes).transpose(moves)
    np.testing.assert_array_equal(moved.reshape(-1), numbers.transpose(taken).reshape(-1))


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [False, True], ids=["numbers", "pixels"])
def test_quantize_and_evaluate(tmp_path: Path, pixels: bool) -> None:
    """At this size the last stage is one token."""
    options = QuantizeOptions(target="ethos-u", calib="digits", n=8)
    export = ExportOptions(format="tflite", uint8_input=pixels)
    artifact = api.quantize(XXS, options, SMALL, export, out=tmp_path)
    m = artifact.manifest
    variant = "-uint8" if pixels else ""
    assert artifact.path.name == f"{XXS}-32-ethos-u{variant}-w8a8-static.tflite"
    assert (m.format, m.target, m.input.dtype) == (
        "tflite",
        "ethos-u",
        "uint8" if pixels else "int8",
    )
    assert m.outputs[0].dtype == "int8" and m.conversion and m.parity
    assert m.parity.sqnr_db > 28 and m.kept_float["stages.0.0.dwconv"].startswith("Reads and gives")
    (scored,) = api.evaluate([str(artifact.path)], DataOptions("digits", 8)).results
    assert (scored.runtime, scored.n) == ("litert", 8)
