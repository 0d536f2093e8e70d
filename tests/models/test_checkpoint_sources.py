from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import XXS, refusal, saved, with_classes
from golden import weights as golden

from edgenext.errors import CheckpointError, DataError, EdgenextError, UsageError
from edgenext.models import zoo
from edgenext.models.cache import record_sha256
from edgenext.models.checkpoint import load_checkpoint
from edgenext.schema import EvalTransform
from edgenext.system.files import sha256_file

# The sidecar


SIDECAR = {
    "size": 64, "crop_pct": 1.0, "interpolation": "bilinear", "std": [0.5, 0.5, 0.5],
    "exif": "apply",
}  # fmt: skip


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
    checkpoint = load_checkpoint(None, path)
    assert checkpoint.labels == ("a", "b", "c")
    assert checkpoint.eval == EvalTransform(**SIDECAR)


def test_what_the_sidecar_omits_is_that_of_the_model(tmp_path) -> None:
    path = saved(golden.state("edgenext_small"), tmp_path, eval={"size": 224})
    checkpoint = load_checkpoint("edgenext_small_usi", path)
    assert (checkpoint.eval.size, checkpoint.eval.crop_pct) == (224, 0.95)


def test_explicit_values_come_before_the_sidecar(tmp_path, xxs) -> None:
    path = saved(with_classes(xxs, 2), tmp_path, eval=SIDECAR, labels=["a", "b"])
    labels = tmp_path / "labels.txt"
    labels.write_text("n02\ttwo, a word\r\nn01\tone\n\n")
    checkpoint = load_checkpoint(None, path, size=96, crop_pct=0.9, exif="ignore", labels=labels)
    assert (checkpoint.eval.size, checkpoint.eval.crop_pct) == (96, 0.9)
    assert checkpoint.eval.exif == "ignore"
    assert load_checkpoint(None, path, exif=None).eval.exif == "apply"
    assert checkpoint.eval.interpolation == "bilinear"
    assert checkpoint.labels == ("n02", "n01")
    assert checkpoint.class_names == ("two, a word", "one")


REPEATED = ["crane", "cat", "cat", "cat", *map(str, range(995)), "crane"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("\xff", "not JSON"),
        ("[1]", "is malformed: Input should be"),
        ('{"num_classes": "many"}', "malformed at num_classes"),
        ('{"labels": "abc"}', "malformed at labels"),
        ('{"eval": {"size": "big"}}', "malformed at size"),
        ('{"eval": {"size": 8}}', "8×8 is too small"),
        ('{"eval": {"crop_pct": 0}}', "crop_pct"),
        ('{"eval": {"crop_pct": NaN}}', "nan instead of a finite number"),
        ('{"eval": {"std": [1, 1, 0]}}', "std above 0"),
        ('{"eval": {"interpolation": "nearest"}}', "malformed at interpolation"),
        ('{"arch": "edgenext_smal"}', "unknown architecture 'edgenext_smal'. Did you mean"),
        ('{"arch": "edgenext_small"}', "The weights fit edgenext_xx_small"),
        ('{"num_classes": 999}', "says 999 classes"),
        ('{"labels": ["a", "b"]}', "2 labels (sidecar) for a head of 1000 classes"),
        ('{"class_names": ["a"]}', "1 class names (sidecar) for a head of 1000 classes"),
        ('{"division": {"data": "photos"}}', "malformed at division"),
        (json.dumps({"labels": REPEATED}), "crane (positions 1 and 1000), cat (positions 2, 3 and"),
        ('{"eval": {"exif": "turn"}}', "malformed at exif"),
    ],
)
def test_a_malformed_sidecar_is_refused(tmp_path, xxs, content: str, message: str) -> None:
    path = saved(xxs, tmp_path)
    (tmp_path / "weights.json").write_text(content, encoding="latin-1")
    assert message in refusal(None, path)


@pytest.mark.parametrize(
    "options", [{"size": 31}, {"crop_pct": 0.0}, {"crop_pct": 1.5}, {"exif": "turn"}]
)
def test_invalid_transforms_are_refused(options: dict[str, Any]) -> None:
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
    with pytest.raises(DataError, match=r"crane \(lines 1 and 3\)\. Give each class"):
        load(b"crane\ncat\ncrane\n")
    with pytest.raises(DataError, match=r"n02012849 \(lines 1 and 2\)"):
        load(b"n02012849\tcrane\nn02012849 crane\nn01440764\n")
    with pytest.raises(DataError, match=r"cannot read .*none\.txt"):
        load_checkpoint(XXS, random_weights=True, labels=tmp_path / "none.txt")
    load("é\nb\nc".encode())


def test_synset_words_are_understood(no_real_cache, tmp_path) -> None:
    """Two pairs of ImageNet's classes have the same name: the wnid is the class."""
    wnids = zoo.imagenet_wnids()
    names = {
        "n02012849": "crane",
        "n03126707": "crane",
        "n03710637": "maillot",
        "n03710721": "maillot, tank suit",
    }
    lines = [f"{wnid} {names.get(wnid, f'thing {i}, Res {i}')}\n" for i, wnid in enumerate(wnids)]
    words = tmp_path / "synset_words.txt"
    words.write_text("\ufeff" + "".join(lines), encoding="utf-8")
    _in_cache(no_real_cache, "edgenext_small_usi", recorded=True)
    published = load_checkpoint("edgenext_small_usi", labels=words)
    assert published.labels == wnids
    assert published.class_names[:2] == ("thing 0, Res 0", "thing 1, Res 1")
    assert published.class_names.count("crane") == 2
    words.write_text("".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(DataError, match=r"another order .*: label 1 is n01443537, not n01440764"):
        load_checkpoint("edgenext_small_usi", labels=words)
    # a network of one's own may have any order
    own = load_checkpoint(XXS, random_weights=True, labels=words)
    assert own.labels[:2] == wnids[1::-1]


# Random weights


@pytest.mark.parametrize("arch", [XXS, "edgenext_x_small_bn_hs"])
def test_random_weights_exercise_every_branch(arch: str) -> None:
    checkpoint = load_checkpoint(arch, random_weights=True, seed=3)
    assert checkpoint.source == "random weights, seed 3"
    assert checkpoint.sha256.startswith("random:")
    assert checkpoint.labels == zoo.imagenet_wnids()
    image = golden.image(32, 32)
    network = checkpoint.network()
    with torch.inference_mode():
        logits = network(image)
        assert torch.isfinite(logits).all()
        assert 0.1 < logits.std() < 100
        for name, parameter in network.named_parameters():
            if name.endswith(("gamma", "gamma_xca", "xca.temperature")):
                original = parameter.clone()
                parameter.mul_(0.5)
                assert (network(image) - logits).abs().max() > 1e-3, name
                parameter.copy_(original)


def test_random_weights_follow_the_seed_alone() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    one, same, other = (load_checkpoint(XXS, random_weights=True, seed=s) for s in (0, 0, 1))
    assert one.sha256 == same.sha256 != other.sha256
    assert all(torch.equal(one.state[k], v) for k, v in same.state.items())
    one.network()
    assert torch.equal(before, torch.random.get_rng_state())


def test_random_weights_of_published_names() -> None:
    checkpoint = load_checkpoint("edgenext_small_usi", random_weights=True, size=288, num_classes=5)
    assert (checkpoint.name, checkpoint.arch) == ("edgenext_small_usi", "edgenext_small")
    assert (checkpoint.eval.size, checkpoint.eval.crop_pct) == (288, 0.95)
    assert (checkpoint.num_classes, checkpoint.labels) == (5, None)
    assert load_checkpoint(None, random_weights=True).name == zoo.DEFAULT_MODEL


def test_random_weights_exclude_a_file(tmp_path) -> None:
    with pytest.raises(UsageError, match="cannot be used together"):
        load_checkpoint(XXS, tmp_path / "a.pth", random_weights=True)


# The cache of published checkpoints


def test_missing_weights_have_a_remedy(tmp_path) -> None:
    message = refusal("edgenext_small_usi")
    assert "`edgenext fetch edgenext_small_usi`" in message
    assert "--weights FILE, or --random-weights" in message
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
        record_sha256(name, sha256_file(path), "http://example.invalid", path.stat().st_size, cache)
    return path


def test_a_fetched_checkpoint_is_found_and_known(no_real_cache, tmp_path) -> None:
    path = _in_cache(no_real_cache, "edgenext_small_usi", recorded=True)
    checkpoint = load_checkpoint("edgenext_small_usi")
    assert (checkpoint.name, checkpoint.arch, checkpoint.published) == (
        "edgenext_small_usi",
        "edgenext_small",
        True,
    )
    assert checkpoint.eval.crop_pct == 0.95
    copied = tmp_path / "copied.pth"
    copied.write_bytes(path.read_bytes())
    same = load_checkpoint(None, copied)
    assert (same.name, same.published, same.eval) == (checkpoint.name, True, checkpoint.eval)
    fresh = load_checkpoint(None, copied, reset_head=True, num_classes=3)
    assert (fresh.published, fresh.labels) == (False, None)


def test_a_cached_file_that_changed_is_refused(no_real_cache) -> None:
    path = _in_cache(no_real_cache, "edgenext_small_usi", recorded=True)
    with path.open("ab") as file:
        file.write(b"x")
    assert "edgenext fetch edgenext_small_usi" in refusal("edgenext_small_usi")


def test_a_cached_file_must_have_the_public_hash(no_real_cache) -> None:
    _in_cache(no_real_cache, XXS, recorded=False)
    assert "differs from the edgenext_xx_small that was published" in refusal(XXS)


# The weights that come with the data


def test_the_tiny_imagenet_weights(shared) -> None:
    path = shared / "weights" / "edgenext_xx_small_tinyimagenet.safetensors"
    checkpoint = load_checkpoint(None, path)
    assert (checkpoint.name, checkpoint.arch, checkpoint.num_classes) == (path.stem, XXS, 200)
    assert (checkpoint.eval.size, checkpoint.eval.crop_pct) == (64, 1.0)
    labels = [line.split("\t")[0] for line in (shared / "data/labels.txt").read_text().splitlines()]
    assert list(checkpoint.labels) == labels
    assert checkpoint.sha256 == sha256_file(path)
    with torch.inference_mode():
        assert checkpoint.network()(golden.image(64, 64)).shape == (1, 200)


def test_damaged_files_end_in_checkpoint_errors(tmp_path) -> None:
    assert issubclass(CheckpointError, EdgenextError)
    for data in (b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x02}", b"x" * 8 + b"{}", bytes(8) + b"{"):
        path = tmp_path / "a.pth"
        path.write_bytes(data)
        refusal(None, path)
