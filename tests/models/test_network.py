from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from golden import weights as golden

from edgenext.errors import UsageError
from edgenext.models import zoo
from edgenext.models.network import ConvEncoder, DropPath, EdgeNeXt, SDTAEncoder, count_macs

ARCHS = tuple(zoo.arch_table())
BLOCKS = ConvEncoder | SDTAEncoder


def golden_network(arch: str, **options: object) -> EdgeNeXt:
    network = zoo.create_model(arch, **options)
    state = golden.state(arch)
    if options.get("features_only"):
        state = {k: v for k, v in state.items() if not k.startswith(("norm.", "head."))}
    network.load_state_dict(state, strict=True)
    return network.eval()


@pytest.mark.parametrize("arch", ARCHS)
def test_logits_and_stages_are_the_golden_ones(arch: str) -> None:
    network = golden_network(arch)
    assert len(golden.SIZES) == 4
    for height, width in golden.SIZES:
        with torch.inference_mode():
            features = network.features(golden.image(height, width))
            logits = network.classify(features[-1])[0].numpy()
        expected = golden.golden()[arch]["sizes"][f"{height}x{width}"]
        np.testing.assert_allclose(logits, golden.logits(arch, height, width), rtol=0, atol=2e-3)
        assert np.argsort(-logits)[:5].tolist() == expected["top5"]
        stages = dict(zip(("stem", "stage1", "stage2", "stage3", "stage4"), features, strict=True))
        for name, stage in expected["stages"].items():
            values = stages[name].double().numpy()
            assert list(values.shape) == stage["shape"]
            actual = [values.mean(), values.std(), *values.ravel()[:4], *values.ravel()[-4:]]
            golden_values = [stage["mean"], stage["std"], *stage["first"], *stage["last"]]
            np.testing.assert_allclose(actual, golden_values, rtol=1e-3, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("arch", ARCHS)
def test_parameters_and_multiply_adds_are_exact(arch: str) -> None:
    network = zoo.create_model(arch)
    row = zoo.arch_table()[arch]
    params = sum(p.numel() for p in network.parameters())
    assert params == row["params"] == golden.golden()[arch]["params"]
    assert count_macs(network.eval(), 256, 256) == row["macs_256"]


@pytest.mark.parametrize("name", zoo.checkpoint_table())
def test_multiply_adds_are_near_the_published(name: str) -> None:
    published = zoo.checkpoint_table()[name]["macs_published"] * 1e6
    assert zoo.card(name).macs_256 == pytest.approx(published, rel=0.005)


def test_counting_multiply_adds_leaves_no_hooks() -> None:
    network = zoo.create_model("edgenext_xx_small").eval()
    assert count_macs(network, 64, 64) == count_macs(network, 64, 64)
    assert not any(m._forward_hooks for m in network.modules())


@pytest.mark.parametrize("arch", ["edgenext_xx_small", "edgenext_x_small_bn_hs"])
def test_features_only_gives_the_four_stages(arch: str) -> None:
    image = golden.image(160, 288)
    with torch.inference_mode():
        features = golden_network(arch).features(image)
        stages = golden_network(arch, features_only=True)(image)
    assert [tuple(s.shape[1:]) for s in stages] == [
        (dim, 160 // 2 ** (i + 2), 288 // 2 ** (i + 2))
        for i, dim in enumerate(zoo.arch_table()[arch]["dims"])
    ]
    for stage, feature in zip(stages, features[1:], strict=True):
        assert torch.equal(stage, feature)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (96, 63)])
def test_odd_sizes_and_batches_give_the_logits_of_single_images(height: int, width: int) -> None:
    network = golden_network("edgenext_xx_small")
    images = torch.cat([golden.image(height, width), golden.image(width, height).mT])
    with torch.inference_mode():
        both = network(images)
        one = torch.cat([network(images[:1]), network(images[1:])])
    torch.testing.assert_close(both, one, rtol=1e-4, atol=1e-4)


def test_drop_path_rises_linearly_over_the_blocks_and_acts_only_in_training() -> None:
    network = zoo.create_model("edgenext_xx_small", drop_path=0.3)
    rates = [b.drop_path.rate for stage in network.stages for b in stage]
    np.testing.assert_allclose(rates, np.linspace(0, 0.3, 12), atol=1e-7)
    network.load_state_dict(golden.state("edgenext_xx_small"))
    image = golden.image(64, 64)
    torch.manual_seed(0)
    with torch.no_grad():
        network.train()
        assert not torch.equal(network(image), network(image))
        network.eval()
        plain = golden_network("edgenext_xx_small")
        assert torch.equal(network(image), plain(image))


def test_drop_path_drops_complete_images_and_preserves_the_mean() -> None:
    drop = DropPath(0.25).train()
    torch.manual_seed(0)
    out = drop(torch.ones(4000, 2, 3))
    per_image = out.flatten(1)
    assert (per_image == per_image[:, :1]).all()
    torch.testing.assert_close(per_image[:, 0].unique(), torch.tensor([0, 1 / 0.75]))
    assert out.mean() == pytest.approx(1, abs=0.03)


def test_a_network_can_be_built_without_memory_or_random_numbers() -> None:
    before = torch.random.get_rng_state()
    with torch.device("meta"):
        network = zoo.create_model("edgenext_base", drop_path=0.1)
    assert all(p.is_meta for p in network.parameters())
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_encoding_follows_the_network_to_float64() -> None:
    network = golden_network("edgenext_xx_small").double()
    with torch.inference_mode():
        logits = network(golden.image(224, 224).double())[0]
    assert logits.dtype == torch.float64
    expected = golden.logits("edgenext_xx_small", 224, 224)
    np.testing.assert_allclose(logits, expected, atol=2e-3)


def test_golden_values_are_the_shared_ones(shared) -> None:
    namespace: dict[str, object] = {"__file__": str(shared / "golden" / "weights.py")}
    exec((shared / "golden" / "weights.py").read_text(), namespace)  # noqa: S102 - reference code
    for arch in ("edgenext_xx_small", "edgenext_xx_small_bn_hs"):
        reference = namespace["state"](arch)
        arrays = golden.arrays(arch)
        assert set(arrays) == set(reference)
        assert all(np.array_equal(arrays[k], reference[k]) for k in reference)
    assert np.array_equal(golden.image(160, 288), namespace["image"](160, 288))
    shapes = json.loads((shared / "golden" / "shapes.json").read_text())
    for arch in ARCHS:
        actual = {k: list(v.shape) for k, v in zoo.create_model(arch).state_dict().items()}
        assert actual == shapes[arch]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "at least one class"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"drop_path": -0.1}, "drop_path"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        zoo.create_model("edgenext_xx_small", **options)
