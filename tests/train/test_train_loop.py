"""Training end to end, on few images."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edgenext.data import ImageSet, load_images
from edgenext.errors import (
    CheckpointError,
    DataError,
    EdgenextError,
    OutputError,
    OverlapError,
    UsageError,
)
from edgenext.models import zoo
from edgenext.models.checkpoint import load_checkpoint
from edgenext.models.network import EdgeNeXt
from edgenext.schema import EvalTransform
from edgenext.train import EpochReport, TrainRecipe
from edgenext.train.evaluation import evaluate_network
from edgenext.train.loop import train_network

SIZE = EvalTransform(size=32, crop_pct=1.0)
RECIPE = TrainRecipe(epochs=4, batch_size=16, warmup_epochs=1, drop_path=0.2, flip=0.5)


def digits(role: str, limit: int | None = None) -> ImageSet:
    return load_images("digits", SIZE, role=role, num_classes=10, limit=limit)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return digits("train", 32)


@pytest.fixture(scope="module")
def val() -> ImageSet:
    return digits("val", 40)


def network(name: str = "edgenext_xx_small", **options: object) -> EdgeNeXt:
    return zoo.create_model(name, 10, **options)


def stop_after(epoch: int):
    def on_epoch(report: EpochReport) -> None:
        if report.epoch == epoch:
            raise KeyboardInterrupt

    return on_epoch


@pytest.mark.parametrize("arch", ["edgenext_xx_small", "edgenext_xx_small_bn_hs"])
def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(images, val, tmp_path, arch):
    uninterrupted = train_network(network(arch), images, val, recipe=RECIPE, out=tmp_path / "one")
    with pytest.raises(KeyboardInterrupt):
        train_network(
            network(arch),
            images,
            val,
            recipe=RECIPE,
            out=tmp_path / "two",
            on_epoch=stop_after(2),
        )
    files = {p.name for p in (tmp_path / "two").iterdir()}
    best = {"best.safetensors", "best-ema.safetensors"}
    assert files == {"checkpoint.pth", "log.jsonl"} | best
    epochs: list[int] = []
    resumed = train_network(
        network(arch),
        images,
        val,
        recipe=RECIPE,
        out=tmp_path / "two",
        resume=True,
        on_epoch=lambda report: epochs.append(report.epoch),
    )
    assert epochs == [3, 4]
    assert resumed.weights.read_bytes() == uninterrupted.weights.read_bytes()
    assert [e.loss for e in resumed.history] == [e.loss for e in uninterrupted.history]
    assert [e.top1 for e in resumed.history] == [e.top1 for e in uninterrupted.history]


def test_resuming_a_finished_run_only_writes_its_files_again(images, tmp_path):
    recipe = RECIPE.model_copy(update={"epochs": 1})
    first = train_network(network(), images, None, recipe=recipe, out=tmp_path)
    before = first.weights.read_bytes()
    first.weights.unlink()
    again = train_network(
        network(), images, None, recipe=recipe, out=tmp_path, resume=True, on_epoch=stop_after(1)
    )
    assert again.weights.read_bytes() == before
    assert again.seconds == first.seconds and again.top1 is None


def test_the_written_weights_are_the_measured_ones(images, val, tmp_path):
    torch.manual_seed(11)
    state = torch.get_rng_state()
    trained = network()
    result = train_network(trained, images, val, recipe=RECIPE, out=tmp_path)
    drawn = network()  # training must not have touched the caller's generator
    torch.set_rng_state(state)
    network()
    assert torch.equal(network().head.weight, drawn.head.weight)

    assert result.weights == tmp_path / "edgenext_xx_small_digits.safetensors"
    assert not trained.training and result.epochs == len(result.history) == 4
    assert evaluate_network(trained, val).top1 == result.top1 == result.history[-1].top1
    loaded = load_checkpoint(None, result.weights)
    assert (loaded.arch, loaded.num_classes, loaded.eval) == ("edgenext_xx_small", 10, SIZE)
    assert loaded.labels == tuple("0123456789")
    assert evaluate_network(loaded.network(), val).top1 == result.top1

    sidecar = json.loads(result.sidecar.read_text())
    assert sidecar["top1"] == result.top1 and sidecar["evaluated_on"]["n"] == 40
    assert sidecar["trained_on"]["sha256"] == images.info.sha256
    assert TrainRecipe(**sidecar["recipe"]) == RECIPE

    saved = torch.load(result.checkpoint, weights_only=True)
    assert {"model", "model_ema", "optimizer", "epoch", "recipe", "position"} <= saved.keys()
    assert saved["epoch"] == 4 and saved["recipe"] == RECIPE.model_dump()
    weights = load_file(result.weights)
    assert weights.keys() == zoo.create_model("edgenext_xx_small", 10).state_dict().keys()
    for name, value in saved["model_ema"].items():
        assert torch.equal(value, weights[name])
    assert any(not torch.equal(saved["model"][name], value) for name, value in weights.items())
    assert load_checkpoint(None, result.checkpoint).arch == "edgenext_xx_small"


def test_the_seed_decides_the_weights(images, tmp_path):
    recipe = RECIPE.model_copy(update={"epochs": 1})
    other = recipe.model_copy(update={"seed": 1})
    a = train_network(network(), images, None, recipe=recipe, out=tmp_path / "a")
    b = train_network(network(), images, None, recipe=recipe, out=tmp_path / "b")
    c = train_network(network(), images, None, recipe=other, out=tmp_path / "c")
    assert a.weights.read_bytes() == b.weights.read_bytes() != c.weights.read_bytes()


def test_fine_tuning_starts_from_the_networks_weights(images, tmp_path):
    pretrained = network()
    before = {k: v.clone() for k, v in pretrained.state_dict().items()}
    recipe = TrainRecipe(epochs=1, batch_size=16, lr=0, from_scratch=False)
    result = train_network(pretrained, images, None, recipe=recipe, out=tmp_path, name="tuned")
    assert result.weights.name == "tuned.safetensors"
    for name, value in load_file(result.weights).items():
        assert torch.equal(value, before[name]), name


def test_a_loss_that_is_not_finite(images, tmp_path):
    recipe = TrainRecipe(epochs=3, batch_size=16, lr=1e38, warmup_epochs=0, clip_norm=1e9)
    with pytest.raises(
        EdgenextError,
        match=r"loss became (nan|inf) in epoch 1, step \d, a batch of 16 images at 32 px, .*Lower",
    ):
        train_network(network(), images, None, recipe=recipe, out=tmp_path)


def test_a_run_resumes_only_with_its_own_recipe_and_images(images, val, tmp_path):
    recipe = RECIPE.model_copy(update={"epochs": 1})
    train_network(network(), images, None, recipe=recipe, out=tmp_path)

    def resume(recipe: TrainRecipe = recipe, images: ImageSet = images, arch: str = "xx_small"):
        n = network(f"edgenext_{arch}")
        train_network(n, images, None, recipe=recipe, out=tmp_path, resume=True)

    with pytest.raises(UsageError, match=r"another run: lr 0\.002 → 0\.5"):
        resume(recipe.model_copy(update={"lr": 0.5}))
    with pytest.raises(UsageError, match="data differs"):
        resume(images=val)
    with pytest.raises(UsageError, match="arch differs"):
        resume(arch="x_small")
    path = tmp_path / "checkpoint.pth"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"checkpoint\.pth"):
        resume()
    for damage in (
        lambda optimizer: optimizer["param_groups"][0].pop("betas"),
        lambda optimizer: optimizer["state"][0].pop("exp_avg"),
        lambda optimizer: optimizer["state"][0].update(exp_avg=torch.zeros(1, 2)),
    ):
        state = torch.load(io.BytesIO(content), weights_only=True)
        damage(state["optimizer"])
        torch.save(state, path)
        with pytest.raises(CheckpointError, match="the optimizer's"):
            resume()
    torch.save({"model": network().state_dict()}, path)
    with pytest.raises(CheckpointError, match=r"training cannot resume from .*checkpoint\.pth"):
        resume()


def test_what_cannot_be_trained(images, val, tmp_path):
    def attempt(n: EdgeNeXt, images: ImageSet, val: ImageSet | None, recipe: TrainRecipe = RECIPE):
        train_network(n, images, val, recipe=recipe, out=tmp_path)

    with pytest.raises(
        OverlapError, match="32 of the 32 validation images are also training images"
    ):
        attempt(network(), images, images)
    with pytest.raises(DataError, match="loaded for 10 classes, the network has 7"):
        attempt(zoo.create_model("edgenext_xx_small", 7), images, val)
    with pytest.raises(UsageError, match="backbone"):
        attempt(network(features_only=True), images, val)
    other = load_images("digits", EvalTransform(size=64), role="val", num_classes=10, limit=2)
    with pytest.raises(UsageError, match="differ in transform or classes"):
        attempt(network(), images, other)
    with pytest.raises(UsageError, match="one image at a time"):
        attempt(network("edgenext_small_bn_hs"), images, val, TrainRecipe(batch_size=1))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(images, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        train_network(network(), images, None, recipe=RECIPE, out=tmp_path / "file")


def test_digits_are_learned(tmp_path):
    """Two epochs; the demo measures the default recipe."""
    recipe = TrainRecipe(epochs=2, warmup_epochs=0.5)
    result = train_network(network(), digits("train"), digits("val"), recipe=recipe, out=tmp_path)
    assert result.top1 is not None and result.top1 > 80
    assert result.history[1].loss < result.history[0].loss
