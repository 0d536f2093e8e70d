from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from architectures import ARCHS
from golden import weights as golden
from torch import nn

from edgenext.errors import CheckpointError, UsageError
from edgenext.graph import fold
from edgenext.graph.canonical import canonicalise_attention
from edgenext.graph.forms import NORMS, Deployable, Deployed
from edgenext.graph.stress import rescaled_twin
from edgenext.models import zoo
from edgenext.models.network import EdgeNeXt, LayerNorm2d, SDTAEncoder
from edgenext.schema import EvalTransform
from edgenext.targets.target import FORMS

SIZE = (64, 96)

FOLDS: dict[str, Callable[[EdgeNeXt], None]] = {
    "layer scale": fold.fold_layer_scale,
    "norm affine": fold.fold_norm_affine,
    "batch norm": fold.fold_batchnorm,
    "encoding": lambda n: fold.freeze_encoding(n, *SIZE),
    "attention": canonicalise_attention,
}


def network(arch: str, dtype: torch.dtype) -> EdgeNeXt:
    net = zoo.create_model(arch)
    net.load_state_dict(golden.state(arch))
    return net.eval().to(dtype).requires_grad_(False)


def difference(a: EdgeNeXt | nn.Module, b: nn.Module, x: torch.Tensor) -> float:
    """Largest relative difference of any stage or the logits."""

    def outputs(net: nn.Module) -> list[torch.Tensor]:
        features = net.features(x)
        return [*features, net.classify(features[-1])]

    pairs = zip(outputs(a), outputs(b), strict=True)
    return max(float((p - q).abs().max() / p.abs().max()) for p, q in pairs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("arch", ARCHS)
def test_every_fold_is_exact(arch: str, dtype: torch.dtype) -> None:
    limit = 1e-9 if dtype == torch.float64 else 1e-4
    net = network(arch, dtype)
    x = golden.image(*SIZE).to(dtype)
    for name, apply in FOLDS.items():
        folded = copy.deepcopy(net)
        apply(folded)
        changed = any(
            not torch.equal(v, folded.state_dict().get(k, torch.empty(0)))
            for k, v in net.state_dict().items()
        )
        assert changed or (name == "batch norm" and not net.arch.batch_norm), name
        assert difference(net, folded, x) < limit, name
    folded = fold.fold(net, *SIZE)
    canonicalise_attention(folded)
    assert difference(net, folded, x) < limit
    for form in NORMS:
        assert difference(net, Deployed(folded, form), x) < limit, form


def test_folding_does_not_change_the_network() -> None:
    net = network("edgenext_xx_small", torch.float32)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    fold.fold(net, *SIZE, pixels=EvalTransform())
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in before.items())


@pytest.mark.parametrize("arch", ["edgenext_xx_small", "edgenext_xx_small_bn_hs"])
def test_folded_parts_are_identities(arch: str) -> None:
    folded = fold.fold(network(arch, torch.float32), *SIZE)
    for block in fold.encoders(folded):
        assert (block.gamma == 1).all()
        norms = [block.norm]
        if isinstance(block, SDTAEncoder):
            assert (block.gamma_xca == 1).all()
            norms += [] if folded.arch.batch_norm else [block.norm_xca]
        for norm in norms:
            if isinstance(norm, nn.LayerNorm | LayerNorm2d):
                assert (norm.weight == 1).all() and (norm.bias == 0).all()
            else:
                assert isinstance(norm, nn.Identity)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("arch", ["edgenext_xx_small", "edgenext_xx_small_bn_hs"])
def test_a_network_that_reads_pixels(arch: str, form: str) -> None:
    net = network(arch, torch.float64)
    transform = EvalTransform(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1))
    pixels = torch.randint(0, 256, (2, *SIZE, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (transform.mean, transform.std))
    x = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
    module = Deployable(net, form, *SIZE, transform).double()
    # the module casts pixels to float32, exactly; its weights here are float64
    inputs = pixels.permute(0, 3, 1, 2).double()
    if form == "naive":
        inputs = (inputs - module.mean) / module.std
    logits = module.body.classify(module.body.features(inputs)[-1])
    expected = net(x)
    assert torch.allclose(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("arch", ARCHS)
def test_a_stressed_twin_is_the_same_function_and_folds_to_the_same_graph(
    arch: str, seed: int
) -> None:
    net = network(arch, torch.float64)
    twin = rescaled_twin(net, seed=seed, strength=3)
    x = golden.image(*SIZE).double()
    assert difference(net, twin, x) < 1e-9
    assert twin.state_dict().keys() == net.state_dict().keys()
    folded_net, folded_twin = (fold.fold(n, *SIZE) for n in (net, twin))
    for folded in (folded_net, folded_twin):
        canonicalise_attention(folded)
    for (name, a), b in zip(
        folded_net.state_dict().items(), folded_twin.state_dict().values(), strict=True
    ):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12), name


def test_the_channels_of_a_twin_are_uneven() -> None:
    net = network("edgenext_xx_small", torch.float64)
    twin = rescaled_twin(net, strength=3)
    gamma = twin.stages[0][0].gamma / net.stages[0][0].gamma
    assert gamma.max() / gamma.min() > 8
    assert torch.equal(
        rescaled_twin(net, seed=4).state_dict()["head.weight"],
        rescaled_twin(net, seed=4).state_dict()["head.weight"],
    )


def test_zero_rows_of_qkv() -> None:
    net = network("edgenext_xx_small", torch.float64)
    xca = net.stages[1][1].xca
    xca.qkv.weight[:5] = 0
    xca.qkv.bias[:5] = 0
    folded = fold.fold(net, *SIZE)
    canonicalise_attention(folded)
    x = golden.image(*SIZE).double()
    assert difference(net, folded, x) < 1e-9


def test_invalid_sizes_and_weights() -> None:
    net = network("edgenext_xx_small", torch.float32)
    with pytest.raises(UsageError, match="16×64"):
        fold.fold(net, 16, 64)
    net.stages[2][0].pwconv1.weight[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=r"stages\.2\.0\.pwconv1\.weight"):
        fold.fold(net, *SIZE)
