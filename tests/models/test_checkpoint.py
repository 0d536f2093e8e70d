from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import weights as golden
from safetensors.torch import save_file

from edgenext.errors import CheckpointError, DataError, EdgenextError, UsageError
from edgenext.files import sha256_file
from edgenext.models import zoo
from edgenext.models.cache import record
from edgenext.models.checkpoint import load_checkpoint
from edgenext.schema import EvalTransform

XXS = "edgenext_xx_small"


def saved(state: dict[str, torch.Tensor], folder: Path, stem: str = "mine", **sidecar) -> Path:
    path = folder / f"{stem}.safetensors"
    save_file(state, path)
    if sidecar:
        (folder / f"{stem}.json").write_text(json.dumps(sidecar))
    return path


def with_classes(state: dict[str, torch.Tensor], n: int) -> dict[str, torch.Tensor]:
    return state | {k: state[k][:n].clone() for k in ("head.weight", "head.bias")}


def refusal(*args: object, **options: object) -> str:
    """The one-line message of the CheckpointError that loading ends in."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(*args, **options)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("arch", zoo.arch_table())
def test_the_architecture_is_told_by_the_weights(tmp_path, arch: str) -> None:
    checkpoint = load_checkpoint(None, saved(golden.state(arch), tmp_path))
    assert (checkpoint.arch, checkpoint.num_classes) == (arch, 1000)
    assert list(checkpoint.state) == list(zoo.create_model(arch).state_dict())
    network = checkpoint.network()
    assert not network.training
    with torch.inference_mode():
        logits = network(golden.image(160, 288))[0].numpy()
    np.testing.assert_allclose(logits, golden.logits(arch, 160, 288), rtol=0, atol=2e-3)


def test_what_a_checkpoint_says_of_itself(tmp_path, xxs) -> None:
    path = saved(xxs, tmp_path)
    checkpoint = load_checkpoint(XXS, path)
    assert checkpoint.name == "mine"
    assert checkpoint.sha256 == sha256_file(path)
    assert checkpoint.source == str(path)
    assert not checkpoint.published
    assert checkpoint.eval == EvalTransform()
    assert checkpoint.labels == zoo.imagenet_wnids()


def test_networks_are_their_own(tmp_path, xxs) -> None:
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
    found = load_checkpoint(XXS, tmp_path / "a.pth")
    assert all(torch.equal(found.state[k], v) for k, v in xxs.items())


def test_averaged_weights_come_first(tmp_path, xxs) -> None:
    for i, key in enumerate(KEYS):
        others = {k: {n: torch.zeros_like(v) for n, v in xxs.items()} for k in KEYS[i + 1 :]}
        torch.save(others | {key: xxs}, tmp_path / "a.pth")
        found = load_checkpoint(None, tmp_path / "a.pth")
        assert torch.equal(found.state["head.bias"], xxs["head.bias"])


def test_a_published_name_says_where_its_weights_are(tmp_path) -> None:
    state = golden.state("edgenext_small")
    raw = {k: torch.zeros_like(v) for k, v in state.items()}
    torch.save({"state_dict_ema": raw, "state_dict": state}, tmp_path / "usi.pth")
    found = load_checkpoint("edgenext_small_usi", tmp_path / "usi.pth")
    assert torch.equal(found.state["head.bias"], state["head.bias"])
    assert found.eval.crop_pct == 0.95


def test_averages_that_training_did_not_keep_are_passed_over(tmp_path, xxs) -> None:
    torch.save({"model_ema": None, "model": xxs}, tmp_path / "a.pth")
    assert load_checkpoint(None, tmp_path / "a.pth").arch == XXS


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "ema.module."])
def test_wrappers_names_are_taken_away(tmp_path, xxs, prefix: str) -> None:
    state = {prefix + k: v for k, v in xxs.items()} | {"n_averaged": torch.tensor(7)}
    torch.save(state, tmp_path / "a.bin")
    assert load_checkpoint(None, tmp_path / "a.bin").arch == XXS


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(tmp_path, xxs, dtype: torch.dtype) -> None:
    found = load_checkpoint(XXS, saved({k: v.to(dtype) for k, v in xxs.items()}, tmp_path))
    assert {v.dtype for v in found.state.values()} == {torch.float32}
    assert torch.equal(found.state["norm.bias"], xxs["norm.bias"].to(dtype).float())


def test_parameters_and_shared_storage_are_copied(tmp_path, xxs) -> None:
    whole = torch.cat([v.flatten() for v in xxs.values()])
    views, start = {}, 0
    for k, v in xxs.items():
        views[k] = torch.nn.Parameter(whole[start : start + v.numel()].view(v.shape))
        start += v.numel()
    torch.save(views, tmp_path / "a.pth")
    found = load_checkpoint(XXS, tmp_path / "a.pth")
    assert all(torch.equal(found.state[k], v) for k, v in xxs.items())
    assert not any(v.requires_grad for v in found.state.values())
    assert all(v.untyped_storage().nbytes() == v.nbytes for v in found.state.values())


def test_batch_norms_without_counters_load(tmp_path) -> None:
    state = golden.state("edgenext_xx_small_bn_hs")
    state = {k: v for k, v in state.items() if "num_batches" not in k}
    found = load_checkpoint(None, saved(state, tmp_path))
    assert found.arch == "edgenext_xx_small_bn_hs"
    assert found.state["norm.num_batches_tracked"].dtype == torch.int64
    found.network()


# What does not fit


def test_another_architecture_is_named(tmp_path, xxs) -> None:
    said = refusal("edgenext_small", saved(xxs, tmp_path))
    assert "does not fit edgenext_small" in said
    missing = set(golden.arrays("edgenext_small")) - set(xxs)
    assert f"{len(missing)} missing (" in said
    assert "downsample_layers.0.0.weight: 24×3×4×4, not 48×3×4×4" in said
    assert said.endswith("These weights fit edgenext_xx_small")


def test_weights_of_a_published_name_fit_its_architecture(tmp_path, xxs) -> None:
    said = refusal("edgenext_base_IN21K", saved(xxs, tmp_path))
    assert "does not fit edgenext_base: " in said


def test_missing_unexpected_and_misshapen_tensors_are_listed(tmp_path, xxs) -> None:
    for name in list(xxs)[:7]:
        del xxs[name]
    xxs["head.extra"] = torch.zeros(1)
    xxs["norm.weight"] = torch.zeros(100)
    said = refusal(XXS, saved(xxs, tmp_path))
    assert "7 missing (downsample_layers.0.0.weight, " in said
    assert "and 2 more)" in said
    assert "1 unexpected (head.extra)" in said
    assert "1 of another shape (norm.weight: 100, not 168)" in said
    assert said.endswith("They fit no EdgeNeXt architecture")


def test_without_a_model_the_nearest_architecture_is_compared(tmp_path, xxs) -> None:
    del xxs["stages.3.1.gamma"]
    said = refusal(None, saved(xxs, tmp_path))
    assert "the nearest is edgenext_xx_small: 1 missing (stages.3.1.gamma)" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, xxs, value: float) -> None:
    xxs["stages.2.3.pwconv1.weight"][0, 0] = value
    xxs["norm.bias"][3] = value
    said = refusal(XXS, saved(xxs, tmp_path))
    assert "NaN or infinite values in 2 tensors: stages.2.3.pwconv1.weight, norm.bias" in said


def test_a_float64_that_overflows_float32_is_refused(tmp_path, xxs) -> None:
    xxs["norm.bias"] = xxs["norm.bias"].double() * 1e300
    assert "norm.bias" in refusal(XXS, saved(xxs, tmp_path))


def test_tensors_that_are_not_plain_floats_are_refused(tmp_path, xxs) -> None:
    xxs["norm.bias"] = xxs["norm.bias"].to(torch.int32)
    xxs["norm.weight"] = xxs["norm.weight"].to_sparse()
    xxs["head.bias"] = xxs["head.bias"].to("meta")
    torch.save(xxs, tmp_path / "a.pth")
    said = refusal(XXS, tmp_path / "a.pth")
    assert "not plain floats: norm.weight, norm.bias, head.bias" in said


@pytest.mark.parametrize(
    ("root", "said"),
    [
        ({}, "It is an empty dict"),
        ({"epoch": 3, "args": {}}, "It has epoch, args"),
        ({"model": {"a": 1}}, "holds no weights under"),
        ([1, 2], "but a list"),
        (torch.zeros(3), "but a Tensor"),
    ],
)
def test_torch_files_without_weights_are_refused(tmp_path, root: object, said: str) -> None:
    torch.save(root, tmp_path / "a.pth")
    assert said in refusal(XXS, tmp_path / "a.pth")


# The head


def test_the_class_count_is_read_from_the_head(tmp_path, xxs) -> None:
    found = load_checkpoint(None, saved(with_classes(xxs, 7), tmp_path))
    assert (found.num_classes, found.labels) == (7, None)
    assert found.network().head.out_features == 7


def test_another_class_count_needs_reset_head(tmp_path, xxs) -> None:
    path = saved(with_classes(xxs, 7), tmp_path)
    said = refusal(XXS, path, num_classes=10)
    assert "head of 7 classes, not 10" in said
    assert "--reset-head" in said
    assert load_checkpoint(XXS, path, num_classes=7).num_classes == 7


def test_reset_head_makes_a_fresh_one_and_keeps_the_rest(tmp_path, xxs) -> None:
    path = saved(xxs, tmp_path)
    found = load_checkpoint(None, path, num_classes=10, reset_head=True, seed=1)
    assert (found.arch, found.num_classes, found.labels) == (XXS, 10, None)
    weight = found.network().head.weight
    assert weight.shape == (10, 168)
    assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not found.state["head.bias"].any()
    assert all(torch.equal(found.state[k], v) for k, v in xxs.items() if "head" not in k)
    again, other = (
        load_checkpoint(None, path, num_classes=10, reset_head=True, seed=s) for s in (1, 2)
    )
    assert found.sha256 == again.sha256 != other.sha256
    assert found.sha256.startswith("fresh-head:")


def test_reset_head_keeps_the_class_count_where_none_is_given(tmp_path, xxs) -> None:
    path = saved(with_classes(xxs, 7), tmp_path, labels=list("abcdefg"))
    found = load_checkpoint(XXS, path, reset_head=True)
    assert (found.num_classes, found.labels) == (7, tuple("abcdefg"))


def test_reset_head_mends_a_head_that_is_missing_or_broken(tmp_path, xxs) -> None:
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


# The sidecar


SIDECAR = {"size": 64, "crop_pct": 1.0, "interpolation": "bilinear", "std": [0.5, 0.5, 0.5]}


def test_the_sidecar_is_read(tmp_path, xxs) -> None:
    path = saved(
        with_classes(xxs, 3),
        tmp_path,
        arch=XXS,
        num_classes=3,
        eval=SIDECAR | {"comment": "ignored"},
        labels=["a", "b", "c"],
        anything={"else": 1},
    )
    found = load_checkpoint(None, path)
    assert found.labels == ("a", "b", "c")
    expected = EvalTransform(size=64, crop_pct=1.0, interpolation="bilinear", std=(0.5, 0.5, 0.5))
    assert found.eval == expected


def test_what_the_sidecar_leaves_out_is_the_models(tmp_path) -> None:
    path = saved(golden.state("edgenext_small"), tmp_path, eval={"size": 224})
    found = load_checkpoint("edgenext_small_usi", path)
    assert (found.eval.size, found.eval.crop_pct) == (224, 0.95)


def test_explicit_values_come_before_the_sidecar(tmp_path, xxs) -> None:
    path = saved(with_classes(xxs, 2), tmp_path, eval=SIDECAR, labels=["a", "b"])
    labels = tmp_path / "labels.txt"
    labels.write_text("n02\ttwo, a word\r\nn01\tone\n\n")
    found = load_checkpoint(None, path, size=96, crop_pct=0.9, labels=labels)
    assert (found.eval.size, found.eval.crop_pct) == (96, 0.9)
    assert found.eval.interpolation == "bilinear"
    assert found.labels == ("n02", "n01")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("\xff", "not JSON"),
        ("[1]", "the whole file"),
        ('{"num_classes": "many"}', "malformed at num_classes"),
        ('{"labels": "abc"}', "malformed at labels"),
        ('{"eval": {"size": "big"}}', "malformed at size"),
        ('{"eval": {"size": 8}}', "cannot take 8×8"),
        ('{"eval": {"crop_pct": 0}}', "crop_pct"),
        ('{"eval": {"crop_pct": NaN}}', "crop_pct"),
        ('{"eval": {"std": [1, 1, 0]}}', "std above 0"),
        ('{"eval": {"interpolation": "nearest"}}', "malformed at interpolation"),
        ('{"arch": "edgenext_smal"}', "unknown architecture 'edgenext_smal'. Did you mean"),
        ('{"arch": "edgenext_small"}', "These weights fit edgenext_xx_small"),
        ('{"num_classes": 999}', "says 999 classes"),
        ('{"labels": ["a", "b"]}', "2 labels (sidecar) for a head of 1000 classes"),
    ],
)
def test_a_malformed_sidecar_is_refused(tmp_path, xxs, content: str, said: str) -> None:
    path = saved(xxs, tmp_path)
    (tmp_path / "mine.json").write_text(content, encoding="latin-1")
    assert said in refusal(None, path)


@pytest.mark.parametrize("options", [{"size": 31}, {"crop_pct": 0.0}, {"crop_pct": 1.5}])
def test_impossible_transforms_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        load_checkpoint(XXS, random_weights=True, **options)


def test_labels_files_that_cannot_be_used(tmp_path) -> None:
    def load(content: bytes) -> None:
        (tmp_path / "labels.txt").write_bytes(content)
        load_checkpoint(XXS, random_weights=True, num_classes=3, labels=tmp_path / "labels.txt")

    with pytest.raises(CheckpointError, match=r"2 labels .* head of 3 classes"):
        load(b"a\nb\n")
    with pytest.raises(DataError, match="empty label in line 2"):
        load(b"a\n\nc\n")
    with pytest.raises(DataError, match="empty label in line 1"):
        load(b"")
    with pytest.raises(DataError, match="not UTF-8"):
        load(b"\xff\xfea\n")
    with pytest.raises(DataError, match="cannot read the labels file"):
        load_checkpoint(XXS, random_weights=True, labels=tmp_path / "none.txt")
    load("é\nb\nc".encode())


# Random weights


@pytest.mark.parametrize("arch", [XXS, "edgenext_x_small_bn_hs"])
def test_random_weights_exercise_every_branch(arch: str) -> None:
    found = load_checkpoint(arch, random_weights=True, seed=3)
    assert found.source == "random weights, seed 3"
    assert found.sha256.startswith("random:")
    assert found.labels == zoo.imagenet_wnids()
    image = golden.image(32, 32)
    network = found.network()
    with torch.inference_mode():
        logits = network(image)
        assert torch.isfinite(logits).all()
        assert 0.1 < logits.std() < 100
        for name, parameter in network.named_parameters():
            if name.endswith(("gamma", "gamma_xca", "xca.temperature")):
                kept = parameter.clone()
                parameter.mul_(0.5)
                assert (network(image) - logits).abs().max() > 1e-3, name
                parameter.copy_(kept)


def test_random_weights_follow_the_seed_alone() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, same, other = (load_checkpoint(XXS, random_weights=True, seed=s) for s in (0, 0, 1))
    assert one.sha256 == same.sha256 != other.sha256
    assert all(torch.equal(one.state[k], v) for k, v in same.state.items())
    one.network()
    assert torch.equal(before, torch.random.get_rng_state())


def test_random_weights_of_published_names() -> None:
    found = load_checkpoint("edgenext_small_usi", random_weights=True, size=288, num_classes=5)
    assert (found.name, found.arch) == ("edgenext_small_usi", "edgenext_small")
    assert (found.eval.size, found.eval.crop_pct) == (288, 0.95)
    assert (found.num_classes, found.labels) == (5, None)
    assert load_checkpoint(None, random_weights=True).name == zoo.DEFAULT_MODEL


def test_random_weights_exclude_a_file(tmp_path) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        load_checkpoint(XXS, tmp_path / "a.pth", random_weights=True)


# The cache of published checkpoints


def test_without_weights_the_remedy_is_said(tmp_path) -> None:
    said = refusal("edgenext_small_usi")
    assert "`edgenext fetch edgenext_small_usi`" in said
    assert "--weights FILE, or --random-weights" in said
    assert zoo.DEFAULT_MODEL in refusal(None)
    assert "edgenext fetch edgenext_base" in refusal("edgenext_base", cache_dir=tmp_path)


def test_unknown_models_are_refused_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match="Did you mean"):
        load_checkpoint("edgenext_tiny", Path("none.pth"))


def _in_cache(cache: Path, name: str, *, recorded: bool) -> Path:
    path = cache / "weights" / f"{name}.pth"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": golden.state(zoo.card(name).arch)}, path)
    if recorded:
        record(name, sha256_file(path), "http://example.invalid", path.stat().st_size, cache)
    return path


def test_a_fetched_checkpoint_is_found_and_known(no_real_cache, tmp_path) -> None:
    path = _in_cache(no_real_cache, "edgenext_small_usi", recorded=True)
    found = load_checkpoint("edgenext_small_usi")
    assert (found.name, found.arch, found.published) == (
        "edgenext_small_usi",
        "edgenext_small",
        True,
    )
    assert found.eval.crop_pct == 0.95
    copied = tmp_path / "copied.pth"
    copied.write_bytes(path.read_bytes())
    same = load_checkpoint(None, copied)
    assert (same.name, same.published, same.eval) == (found.name, True, found.eval)
    fresh = load_checkpoint(None, copied, reset_head=True, num_classes=3)
    assert (fresh.published, fresh.labels) == (False, None)


def test_a_cached_file_that_changed_is_refused(no_real_cache) -> None:
    path = _in_cache(no_real_cache, "edgenext_small_usi", recorded=True)
    with path.open("ab") as file:
        file.write(b"x")
    assert "edgenext fetch edgenext_small_usi" in refusal("edgenext_small_usi")


def test_a_cached_file_is_held_to_the_public_hash(no_real_cache) -> None:
    _in_cache(no_real_cache, XXS, recorded=False)
    assert "is not the edgenext_xx_small that was published" in refusal(XXS)


# The weights that come with the data


def test_the_tiny_imagenet_weights(shared) -> None:
    path = shared / "weights" / "edgenext_xx_small_tinyimagenet.safetensors"
    found = load_checkpoint(None, path)
    assert (found.name, found.arch, found.num_classes) == (path.stem, XXS, 200)
    assert (found.eval.size, found.eval.crop_pct) == (64, 1.0)
    labels = [line.split("\t")[0] for line in (shared / "data/labels.txt").read_text().splitlines()]
    assert list(found.labels) == labels
    assert found.sha256 == sha256_file(path)
    with torch.inference_mode():
        assert found.network()(golden.image(64, 64)).shape == (1, 200)


def test_every_refusal_is_one_of_the_projects_errors(tmp_path) -> None:
    assert issubclass(CheckpointError, EdgenextError)
    for data in (b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x02}", b"x" * 8 + b"{}", bytes(8) + b"{"):
        path = tmp_path / "a.pth"
        path.write_bytes(data)
        refusal(None, path)
