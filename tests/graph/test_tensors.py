from __future__ import annotations

import numpy as np
from golden import weights as golden

from edgenext.export.onnx import onnx_graph
from edgenext.formats.onnx.session import tracer
from edgenext.graph.tensors import locate_tensors, signal_and_noise, site_tensors
from edgenext.models import zoo

RNG = np.random.default_rng(0)


def test_tensors_are_found_in_other_layouts_and_precisions() -> None:
    references = {f"s{i}": RNG.standard_normal((2, 8, 4, 6)).astype(np.float32) for i in range(5)}
    traced = {
        "last": np.moveaxis(references["s0"], 1, -1),
        "flat": references["s1"].reshape(2, 8, 24),
        "half": references["s2"].astype(np.float16),
        "noisy": references["s3"] + 0.1 * RNG.standard_normal((2, 8, 4, 6)).astype(np.float32),
        "other": RNG.standard_normal((2, 8, 4, 6)),
        "of another size": RNG.standard_normal(7),
    }
    locations = locate_tensors(references, traced)
    assert [locations[f"s{i}"] for i in range(4)] == ["last", "flat", "half", "noisy"]


def test_a_tensor_without_another_of_its_size_is_omitted() -> None:
    assert locate_tensors({"a": np.ones(3)}, {"b": np.ones(4)}) == {}


def test_noise_ignores_the_layout() -> None:
    x = RNG.standard_normal((1, 3, 4, 5))
    signal, none = signal_and_noise(x, np.moveaxis(x, 1, -1))
    assert none == 0 and np.isclose(signal, np.square(x).sum())
    _, some = signal_and_noise(x, np.moveaxis(x, 1, -1) + 0.5)
    assert np.isclose(some, 0.25 * x.size)


def test_every_site_has_a_tensor_that_can_be_traced() -> None:
    net = zoo.create_model("edgenext_xx_small")
    net.load_state_dict(golden.state("edgenext_xx_small"))
    model = onnx_graph(net.eval(), "convT", (64, 64))
    tensors = site_tensors(model)
    values = tracer(model)(np.zeros((1, 3, 64, 64), np.float32))
    assert set(tensors.values()) <= set(values)
    assert {"downsample_layers.0.0", "stages.2.5.pwconv2", "stages.3.1.xca.add", "head"} <= set(
        tensors
    )
    assert values[tensors["head"]].shape == (1, 1000)
