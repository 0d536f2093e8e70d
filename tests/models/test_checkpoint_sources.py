from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoint_files import XXS, refusal, saved, with_classes
from golden import weights as golden

from edgenext.errors import CheckpointError, DataError, EdgenextError, UsageError
from edgenext.models import zoo
from edgenext.models.cache import record
from edgenext.models.checkpoint import load_checkpoint
from edgenext.schema import EvalTransform
from edgenext.system.files import sha256_file

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
