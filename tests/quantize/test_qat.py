"""Quantization-aware training: what is simulated is what is written, and it gets nearer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from quantized_graphs import batches, logits, network, pictures, recipe
from test_schemes import as_written

from edgenext import api
from edgenext.commands.context import Context
from edgenext.commands.images import training_images
from edgenext.commands.quantize import float_graph as graph_of
from edgenext.commands.quantize import qat_training, resolve_quantization, scheme_images
from edgenext.commands.subject import Subject
from edgenext.data import require_disjoint
from edgenext.errors import EdgenextError, OverlapError, UsageError
from edgenext.export.deployment_graph import Graph
from edgenext.export.onnx import onnx_graph
from edgenext.formats.torch_graph import torch_graph
from edgenext.metrics.fidelity import Fidelity, fidelity
from edgenext.options import ExportOptions, ModelOptions, QatOptions, QuantizeOptions
from edgenext.quantize.batches import ImageBatches
from edgenext.quantize.fake_quantizers import ActivationQuantizer, FakeQuantize, WeightQuantizer
from edgenext.quantize.qat import QatTraining, distillation_loss, train_quantized
from edgenext.quantize.ranges import affine
from edgenext.quantize.recipe import Recipe
from edgenext.quantize.static import QuantizedGraph, quantize_static
from edgenext.quantize.trainable_graph import TrainableGraph
from edgenext.targets.target import form_for

QUICK = {"rounding": "nearest", "fit": 0.0}
XXS = "edgenext_xx_small"
RANDOM = ModelOptions(random_weights=True, num_classes=10, size=32)


def quantized(target: str, scheme: str = "w8a8-static") -> tuple[QuantizedGraph, Recipe]:
    """A network quantized in the quickest way, and its recipe."""
    quick = recipe(scheme, target, weights=QUICK)
    graph = onnx_graph(network(), form_for(target), (64, 64), opset=quick.opset)
    return quantize_static(graph, batches(4), quick), quick


def simulated(graph: TrainableGraph) -> np.ndarray:
    """Logits of the module, for the images of `logits`."""
    with torch.no_grad():
        return np.asarray(graph.network(torch.from_numpy(pictures(2, 48))))


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def disturb(graph: TrainableGraph, size: float) -> None:
    """Change every trained parameter a little, as training does."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in graph.network.parameters():
            if parameter.requires_grad:
                parameter += size * torch.randn(parameter.shape, generator=generator)


TARGETS = [
    ("cpu-onnxruntime", "w8a8-static"),
    ("cpu-onnxruntime", "w4a8-static"),
    ("htp", "w8a8-static"),
    ("jetson", "w8a8-static"),
    pytest.param("cpu-openvino", "w8a8-static", marks=pytest.mark.campaign),
    pytest.param("cpu-openvino", "w4a8-static", marks=pytest.mark.campaign),
    pytest.param("tflite", "w8a8-static", marks=pytest.mark.campaign),
    pytest.param("tflite", "w4a8-static", marks=pytest.mark.campaign),
    pytest.param("coreml", "w8a8-static", marks=pytest.mark.campaign),
    pytest.param("executorch", "w8a8-static", marks=pytest.mark.campaign),
    pytest.param("ethos-u", "w8a8-static", marks=pytest.mark.campaign),
    pytest.param("htp", "w8a16-static", marks=pytest.mark.campaign),
]


@pytest.mark.parametrize(("target", "scheme"), TARGETS)
def test_what_is_simulated_is_what_is_written(target: str, scheme: str) -> None:
    result, quick = quantized(target, scheme)
    graph = TrainableGraph(result.model, quick)
    untouched = graph.written()
    assert untouched.SerializeToString(deterministic=True) == result.model.SerializeToString(
        deterministic=True
    )
    disturb(graph, 0.003)
    written = graph.written()
    onnx.checker.check_model(written, full_check=True)
    similarity = fidelity(as_written(written), simulated(graph))
    # measured: 37.3 and more; both round alike, but sums in another order flip a rounding here
    # and there, and every later layer passes that on
    assert similarity.sqnr_db > 35, similarity
    assert [n.op_type for n in written.graph.node] == [n.op_type for n in result.model.graph.node]
    before, after = constants(result.model), constants(written)
    assert {k: (v.dtype, v.shape) for k, v in before.items()} == {
        k: (v.dtype, v.shape) for k, v in after.items()
    }


def test_fused_kernels_compute_what_is_simulated() -> None:
    """The file as onnxruntime runs it, in its integer kernels."""
    result, quick = quantized("cpu-onnxruntime")
    graph = TrainableGraph(result.model, quick)
    disturb(graph, 0.003)
    similarity = fidelity(logits(graph.written()), simulated(graph))
    assert similarity.sqnr_db > 35, similarity  # 40.5 measured, with VNNI
    assert similarity.agreement > 95


@pytest.mark.parametrize("target", ["cpu-onnxruntime", "jetson"])
def test_the_recipes_limits_are_kept(target: str) -> None:
    result, quick = quantized(target)
    graph = TrainableGraph(result.model, quick)
    disturb(graph, 0.3)
    for module in graph.network.modules():
        if isinstance(module, WeightQuantizer):
            module.clip()
    model = graph.written()
    values = constants(model)
    assert quick.weights and quick.activations
    for name, levels in values.items():
        if levels.dtype == np.int8 and name.endswith("_quantized"):
            assert np.abs(levels.astype(int)).max() <= quick.weights.limit
        if quick.activations.symmetric and name.endswith("_zero_point"):
            assert not levels.any()
    scales = {n.input[0]: n.input[1] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    producers = {o: n for n in model.graph.node for o in n.output}
    for layer in (n for n in model.graph.node if n.op_type in ("Conv", "Gemm")):
        parts = [producers.get(name) for name in layer.input]
        if all(p is not None and p.op_type == "DequantizeLinear" for p in parts):
            x, w, b = (values[p.input[1]] for p in parts if p is not None)
            np.testing.assert_array_equal(b, (x * w).astype(np.float32))  # what kernels check
    for sigmoid in (n for n in model.graph.node if n.op_type == "Sigmoid"):
        quantize = next(n for n in model.graph.node if sigmoid.output[0] in n.input)
        assert values[quantize.input[1]] == 1 / 256  # onnxruntime's table requires it
        steep = producers[sigmoid.input[0]]
        np.testing.assert_allclose(
            values[steep.input[1]], 1.702 * values[scales_of(model, steep)], rtol=1e-6
        )
    assert scales


def scales_of(model: onnx.ModelProto, node: onnx.NodeProto) -> str:
    """The scale of the QuantizeLinear that a DequantizeLinear reads."""
    return next(n.input[1] for n in model.graph.node if node.input[0] in n.output)


def test_fake_quantization_rounds_as_the_format_does() -> None:
    q = affine(-2.5, 3.0)
    x = np.random.default_rng(0).normal(0, 2, 1000).astype(np.float32)
    quantizer = ActivationQuantizer(q, learned=True, free_zero=True)
    np.testing.assert_allclose(
        quantizer(torch.from_numpy(x)).detach(), q.fake_quantize(x), rtol=1e-6, atol=1e-6
    )


def test_gradients_of_rounding_clipping_scale_and_zero_point() -> None:
    scale = torch.tensor(0.5, requires_grad=True)
    zero = torch.tensor(2.0, requires_grad=True)
    x = torch.tensor([-3.0, 0.6, 0.9, 5.0], requires_grad=True)  # levels 0 to 7: −1 to 2.5
    y = FakeQuantize.apply(x, scale, zero, 0, 7)
    assert y.tolist() == [-1.0, 0.5, 1.0, 2.5]
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0, 1, 1, 0]
    # inside: round(x/s) − x/s; outside: the end of the range less the zero point
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(-2 + (1 - 1.2) + (2 - 1.8) + 5, abs=1e-5)
    assert zero.grad is not None and zero.grad.item() == pytest.approx(-2 * 0.5)


def test_every_trained_parameter_gets_a_finite_gradient() -> None:
    result, quick = quantized("htp")
    graph = TrainableGraph(result.model, quick)
    graph.network(torch.from_numpy(pictures(2, 4))).square().sum().backward()
    trained = [p for p in graph.network.parameters() if p.requires_grad]
    assert len(trained) > 300
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in trained)


def prepared(
    options: QatOptions, percentile: float | None = None
) -> tuple[QuantizedGraph, Graph, QatTraining, Recipe]:
    """What `train_quantized` takes, of a small network and the digits."""
    context = Context()
    subject = context.subject(XXS, RANDOM)
    settings = resolve_quantization(QuantizeOptions(calib="digits", n=16, qat=options))
    images = scheme_images(context, subject, settings)
    graph, _ = graph_of(context, subject, settings)
    quick = settings.recipe.model_copy(
        update={"weights": settings.recipe.weights.model_copy(update=QUICK)}  # type: ignore[union-attr]
    )
    if percentile:
        ranges = {"method": "percentile", "percentile": percentile}
        activations = settings.recipe.activations.model_copy(update=ranges)  # type: ignore[union-attr]
        quick = quick.model_copy(update={"activations": activations})
    result = quantize_static(graph.model, ImageBatches(graph, images.images), quick)
    training = qat_training(context, subject, settings)
    assert training
    return result, graph, training, quick


def digits_fidelity(graph: Graph, model: onnx.ModelProto) -> Fidelity:
    """Of a model's logits on digits that it was not trained on."""
    from edgenext.formats.onnx.session import inference_session

    images = np.asarray(
        Context()
        .images(api.DataOptions("digits", 64), graph.transform, "val", num_classes=10)
        .images
    )
    x = graph.prepare(images)
    runs = [inference_session(m.SerializeToString(), 1) for m in (graph.model, model)]
    expected, got = (np.concatenate([s.run(None, {"input": i[None]})[0] for i in x]) for s in runs)
    return fidelity(expected, got)


def test_training_undoes_a_bad_choice_of_ranges_and_repeats() -> None:
    result, graph, training, quick = prepared(QatOptions(1, 0.01, n=640), percentile=97)
    trained = train_quantized(result, graph, training, quick)
    before, after = (digits_fidelity(graph, r.model) for r in (result, trained))
    assert after.sqnr_db > before.sqnr_db + 1.5, (before, after)  # measured: 10.6 and 13.6
    assert trained.clipped.keys() == result.clipped.keys() and trained.clipped != result.clipped
    short = replace(training, images=training.images.take(range(64)))
    first, second, other = (
        train_quantized(result, graph, replace(short, seed=seed), quick) for seed in (0, 0, 1)
    )
    assert first.model == second.model != other.model


def test_gradients_of_ranges_are_those_of_the_loss() -> None:
    """Also where a vector of attention was rounded to zero, as of this network's single tokens."""
    result, graph, training, quick = prepared(QatOptions(1, n=32), percentile=97)
    trainable = TrainableGraph(result.model, quick)
    network = trainable.network
    x = torch.from_numpy(graph.prepare(np.array(training.images.images[:32])))
    with torch.no_grad():
        expected = torch_graph(graph.model)(x)
    loss = distillation_loss(network(x), expected)
    loss.backward()  # type: ignore[no-untyped-call]
    growths = [
        m.growth
        for m in network.modules()
        if isinstance(m, ActivationQuantizer) and m.growth.requires_grad
    ]
    growths.sort(key=lambda g: -abs(float(g.grad or 0)))
    for growth in growths[:4]:  # the largest, which rounding hides least
        values = []
        for change in (-0.1, 0.1):
            with torch.no_grad():
                growth.fill_(change)
                values.append(distillation_loss(network(x), expected).item())
                growth.zero_()
        assert growth.grad is not None
        assert growth.grad.item() == pytest.approx((values[1] - values[0]) / 0.2, rel=0.4, abs=0.02)


def test_a_loss_that_is_not_finite_is_one_line() -> None:
    result, graph, training, quick = prepared(QatOptions(1, lr=1.0, n=320))
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("head.bias"):
            tensor.CopyFrom(numpy_helper.from_array(np.full(10, np.inf, np.float32), tensor.name))
    with pytest.raises(EdgenextError, match=r"loss became nan in epoch 1, step 1 of 10") as raised:
        train_quantized(result, replace(graph, model=model), training, quick)
    assert "--qat-lr" in str(raised.value)


def test_what_cannot_be_trained_is_refused() -> None:
    def refused(options: QuantizeOptions, export: ExportOptions = ExportOptions()) -> str:  # noqa: B008
        with pytest.raises(UsageError) as raised:
            resolve_quantization(options, export)
        return str(raised.value)

    qat = QatOptions(1)
    for scheme in ("w8-weight-only", "w8a8-dynamic"):
        assert "no quantized activations" in refused(QuantizeOptions(scheme, qat=qat))
    assert "fp16" in refused(QuantizeOptions("fp16", "jetson", qat=qat))
    said = refused(QuantizeOptions(engine="onnxruntime", calib="digits", qat=qat))
    assert "not that of onnxruntime" in said
    said = refused(
        QuantizeOptions("w8a16-static", "tflite", qat=qat), ExportOptions(format="tflite")
    )
    assert "the converter makes w8a16-static itself" in said
    assert "at least 1 epoch" in refused(QuantizeOptions(qat=QatOptions(0)))
    for lr in (0.0, -1.0, 2.0, float("nan")):
        assert "--qat-lr" in refused(QuantizeOptions(qat=QatOptions(1, lr)))


def test_the_manifest_records_it_and_none_of_its_images_can_be_evaluated(tmp_path: Path) -> None:
    options = QuantizeOptions(calib="digits", n=8, qat=QatOptions(1, 1e-4, n=64))
    artifact = api.quantize(XXS, options, RANDOM, out=tmp_path)
    assert artifact.path.name == "edgenext_xx_small-32-w8a8-static-qat.onnx"
    record = artifact.manifest.qat
    assert record is not None
    assert (record.epochs, record.lr, record.seed, record.batch) == (1, 1e-4, 0, 32)
    assert record.images.subset.n == 64 == len(record.images.images)
    assert len(record.images.subset.sha256) == 64
    subject, context = Subject(artifact=artifact), Context()
    assert subject.fitted_on == (artifact.manifest.calibration, record.images)
    images = training_images(context, subject, options)
    with pytest.raises(OverlapError, match="64 of the 64"):
        require_disjoint(images, *subject.fitted_on)
    with pytest.raises(UsageError, match="trained with --qat 1"):
        api.verify(artifact.path, rebuild=True, calib="digits")
