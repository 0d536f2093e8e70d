from __future__ import annotations

import numpy as np
import pytest
import torch
from checkpoint_files import XXS, refusal, saved, with_classes
from golden import weights as golden

from edgenext.errors import UsageError
from edgenext.models import zoo
from edgenext.models.checkpoint import load_checkpoint
from edgenext.schema import EvalTransform
from edgenext.system.files import sha256_file


@pytest.mark.parametrize("arch", zoo.arch_table())
def test_the_architecture_is_inferred_from_the_weights(tmp_path, arch: str) -> None:
    checkpoint = load_checkpoint(None, saved(golden.state(arch), tmp_path))
    assert (checkpoint.arch, checkpoint.num_classes) == (arch, 1000)
    assert list(checkpoint.state) == list(zoo.create_model(arch).state_dict())
    network = checkpoint.network()
    assert not network.training
    with torch.inference_mode():
        logits = network(golden.image(160, 288))[0].numpy()
    np.testing.assert_allclose(logits, golden.logits(arch, 160, 288), rtol=0, atol=2e-3)


def test_the_fields_of_a_checkpoint(tmp_path, xxs) -> None:
    path = saved(xxs, tmp_path)
    checkpoint = load_checkpoint(XXS, path)
    assert checkpoint.name == "weights"
    assert checkpoint.sha256 == sha256_file(path)
    assert checkpoint.source == str(path)
    assert not checkpoint.published
    assert checkpoint.eval == EvalTransform()
    assert checkpoint.labels == zoo.imagenet_wnids()


def test_every_network_has_its_own_weights(tmp_path, xxs) -> None:
    checkpoint = load_checkpoint(XXS, saved(xxs, tmp_path))
    first = checkpoint.network(drop_path=0.2)
    assert first.stages[3][1].drop_path.rate == pytest.approx(0.2)
    assert all(p.requires_grad for p in first.parameters())
    with torch.no_grad():
        for p in first.parameters():
            p.zero_()
    assert torch.equal(checkpoint.network().head.weight, xxs["head.weight"])
    assert torch.equal(checkpoint.state["head.weight"], xxs["head.weight"])


KEYS = ("model_ema", "state_dict_ema", "state_dict", "model")


@pytest.mark.parametrize("key", KEYS)
def test_weights_are_found_under_the_keys_of_checkpoints(tmp_path, xxs, key: str) -> None:
    torch.save({"epoch": 3, key: xxs, "optimizer": {"state": {}}}, tmp_path / "a.pth")
    checkpoint = load_checkpoint(XXS, tmp_path / "a.pth")
    assert all(torch.equal(checkpoint.state[k], v) for k, v in xxs.items())


def test_averaged_weights_come_first(tmp_path, xxs) -> None:
    for i, key in enumerate(KEYS):
        others = {k: {n: torch.zeros_like(v) for n, v in xxs.items()} for k in KEYS[i + 1 :]}
        torch.save(others | {key: xxs}, tmp_path / "a.pth")
        checkpoint = load_checkpoint(None, tmp_path / "a.pth")
        assert torch.equal(checkpoint.state["head.bias"], xxs["head.bias"])


def test_a_published_name_selects_the_key_of_its_weights(tmp_path) -> None:
    state = golden.state("edgenext_small")
    raw = {k: torch.zeros_like(v) for k, v in state.items()}
    torch.save({"state_dict_ema": raw, "state_dict": state}, tmp_path / "usi.pth")
    checkpoint = load_checkpoint("edgenext_small_usi", tmp_path / "usi.pth")
    assert torch.equal(checkpoint.state["head.bias"], state["head.bias"])
    assert checkpoint.eval.crop_pct == 0.95


def test_missing_averages_are_skipped(tmp_path, xxs) -> None:
    torch.save({"model_ema": None, "model": xxs}, tmp_path / "a.pth")
    assert load_checkpoint(None, tmp_path / "a.pth").arch == XXS


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "ema.module."])
def test_prefixes_of_wrappers_are_removed(tmp_path, xxs, prefix: str) -> None:
    state = {prefix + k: v for k, v in xxs.items()} | {"n_averaged": torch.tensor(7)}
    torch.save(state, tmp_path / "a.bin")
    assert load_checkpoint(None, tmp_path / "a.bin").arch == XXS


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(tmp_path, xxs, dtype: torch.dtype) -> None:
    checkpoint = load_checkpoint(XXS, saved({k: v.to(dtype) for k, v in xxs.items()}, tmp_path))
    assert {v.dtype for v in checkpoint.state.values()} == {torch.float32}
    assert torch.equal(checkpoint.state["norm.bias"], xxs["norm.bias"].to(dtype).float())


def test_parameters_and_shared_storage_are_copied(tmp_path, xxs) -> None:
    flat = torch.cat([v.flatten() for v in xxs.values()])
    views, start = {}, 0
    for k, v in xxs.items():
        views[k] = torch.nn.Parameter(flat[start : start + v.numel()].view(v.shape))
        start += v.numel()
    torch.save(views, tmp_path / "a.pth")
    checkpoint = load_checkpoint(XXS, tmp_path / "a.pth")
    assert all(torch.equal(checkpoint.state[k], v) for k, v in xxs.items())
    assert not any(v.requires_grad for v in checkpoint.state.values())
    assert all(v.untyped_storage().nbytes() == v.nbytes for v in checkpoint.state.values())


def test_batch_norms_without_counters_load(tmp_path) -> None:
    state = golden.state("edgenext_xx_small_bn_hs")
    state = {k: v for k, v in state.items() if "num_batches" not in k}
    checkpoint = load_checkpoint(None, saved(state, tmp_path))
    assert checkpoint.arch == "edgenext_xx_small_bn_hs"
    assert checkpoint.state["norm.num_batches_tracked"].dtype == torch.int64
    checkpoint.network()


# What does not fit


def test_another_architecture_is_named(tmp_path, xxs) -> None:
    message = refusal("edgenext_small", saved(xxs, tmp_path))
    assert "does not fit edgenext_small" in message
    missing = set(golden.arrays("edgenext_small")) - set(xxs)
    assert f"{len(missing)} missing (" in message
    assert "downsample_layers.0.0.weight: 24×3×4×4, not 48×3×4×4" in message
    assert message.endswith("The weights fit edgenext_xx_small")


def test_weights_of_a_published_name_fit_its_architecture(tmp_path, xxs) -> None:
    message = refusal("edgenext_base_IN21K", saved(xxs, tmp_path))
    assert "does not fit edgenext_base: " in message


def test_missing_unexpected_and_misshapen_tensors_are_listed(tmp_path, xxs) -> None:
    for name in list(xxs)[:7]:
        del xxs[name]
    xxs["head.extra"] = torch.zeros(1)
    xxs["norm.weight"] = torch.zeros(100)
    message = refusal(XXS, saved(xxs, tmp_path))
    assert "7 missing (downsample_layers.0.0.weight, " in message
    assert "and 2 more)" in message
    assert "1 unexpected (head.extra)" in message
    assert "1 of another shape (norm.weight: 100, not 168)" in message
    assert message.endswith("They do not fit any EdgeNeXt architecture")


def test_without_a_model_the_nearest_architecture_is_compared(tmp_path, xxs) -> None:
    del xxs["stages.3.1.gamma"]
    message = refusal(None, saved(xxs, tmp_path))
    assert "the nearest is edgenext_xx_small: 1 missing (stages.3.1.gamma)" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, xxs, value: float) -> None:
    xxs["stages.2.3.pwconv1.weight"][0, 0] = value
    xxs["norm.bias"][3] = value
    message = refusal(XXS, saved(xxs, tmp_path))
    assert "NaN or infinite values in 2 tensors: stages.2.3.pwconv1.weight, norm.bias" in message


def test_a_float64_that_overflows_float32_is_refused(tmp_path, xxs) -> None:
    xxs["norm.bias"] = xxs["norm.bias"].double() * 1e300
    assert "norm.bias" in refusal(XXS, saved(xxs, tmp_path))


def test_tensors_that_are_not_plain_floats_are_refused(tmp_path, xxs) -> None:
    xxs["norm.bias"] = xxs["norm.bias"].to(torch.int32)
    xxs["norm.weight"] = xxs["norm.weight"].to_sparse()
    xxs["head.bias"] = xxs["head.bias"].to("meta")
    torch.save(xxs, tmp_path / "a.pth")
    message = refusal(XXS, tmp_path / "a.pth")
    assert "not plain floats: norm.weight, norm.bias, head.bias" in message


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ({}, "It is an empty dict"),
        ({"epoch": 3, "args": {}}, "It has the keys epoch, args"),
        ({"model": {"a": 1}}, "has no weights under the keys"),
        ([1, 2], "contains a list instead"),
        (torch.zeros(3), "contains a Tensor instead"),
    ],
)
def test_torch_files_without_weights_are_refused(tmp_path, root: object, message: str) -> None:
    torch.save(root, tmp_path / "a.pth")
    assert message in refusal(XXS, tmp_path / "a.pth")


# The head


def test_the_class_count_is_read_from_the_head(tmp_path, xxs) -> None:
    checkpoint = load_checkpoint(None, saved(with_classes(xxs, 7), tmp_path))
    assert (checkpoint.num_classes, checkpoint.labels) == (7, None)
    assert checkpoint.network().head.out_features == 7


def test_another_class_count_needs_reset_head(tmp_path, xxs) -> None:
    path = saved(with_classes(xxs, 7), tmp_path)
    message = refusal(XXS, path, num_classes=10)
    assert "head of 7 classes, not 10" in message
    assert "--reset-head" in message
    assert load_checkpoint(XXS, path, num_classes=7).num_classes == 7


def test_reset_head_replaces_the_head_alone(tmp_path, xxs) -> None:
    path = saved(xxs, tmp_path)
    checkpoint = load_checkpoint(None, path, num_classes=10, reset_head=True, seed=1)
    assert (checkpoint.arch, checkpoint.num_classes, checkpoint.labels) == (XXS, 10, None)
    weight = checkpoint.network().head.weight
    assert weight.shape == (10, 168)
    assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not checkpoint.state["head.bias"].any()
    assert all(torch.equal(checkpoint.state[k], v) for k, v in xxs.items() if "head" not in k)
    again, other = (
        load_checkpoint(None, path, num_classes=10, reset_head=True, seed=s) for s in (1, 2)
    )
    assert checkpoint.sha256 == again.sha256 != other.sha256
    assert checkpoint.sha256.startswith("fresh-head:")


def test_reset_head_keeps_the_class_count_by_default(tmp_path, xxs) -> None:
    path = saved(with_classes(xxs, 7), tmp_path, labels=list("abcdefg"))
    checkpoint = load_checkpoint(XXS, path, reset_head=True)
    assert (checkpoint.num_classes, checkpoint.labels) == (7, tuple("abcdefg"))


def test_reset_head_replaces_a_missing_or_invalid_head(tmp_path, xxs) -> None:
    xxs["head.weight"][0] = float("nan")
    broken = saved(xxs, tmp_path, "broken")
    assert load_checkpoint(XXS, broken, num_classes=3, reset_head=True).num_classes == 3
    headless = saved({k: v for k, v in xxs.items() if "head" not in k}, tmp_path, "headless")
    assert load_checkpoint(None, headless, num_classes=3, reset_head=True).num_classes == 3
    assert "no head" in refusal(XXS, headless, reset_head=True)
    assert "2 missing (head.weight, head.bias)" in refusal(XXS, headless)


def test_a_class_count_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one class"):
        load_checkpoint(XXS, random_weights=True, num_classes=0)
