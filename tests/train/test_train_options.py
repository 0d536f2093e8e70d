"""Freezing, early stopping, mixing, precision, and what is left in the folder."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from edgenext.data import ImageSet, load_images
from edgenext.errors import EdgenextError, UsageError
from edgenext.models import zoo
from edgenext.models.network import EdgeNeXt
from edgenext.schema import EvalTransform
from edgenext.train import TrainRecipe, TrainResult
from edgenext.train.accelerator import TrainSettings, enough_memory, resolve_device
from edgenext.train.loop import train_network

SIZE = EvalTransform(size=32, crop_pct=1.0)
RECIPE = TrainRecipe(epochs=2, batch_size=16, warmup_epochs=0)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load_images("digits", SIZE, role="train", num_classes=10, limit=33)


@pytest.fixture(scope="module")
def val() -> ImageSet:
    return load_images("digits", SIZE, role="val", num_classes=10, limit=20)


def train(
    images: ImageSet,
    val: ImageSet | None,
    out: Path,
    network: EdgeNeXt | None = None,
    settings: TrainSettings | None = None,
    **values: object,
) -> TrainResult:
    recipe = TrainRecipe(**(RECIPE.model_dump() | values))
    network = network or zoo.create_model("edgenext_xx_small_bn_hs", 10)
    settings = settings or TrainSettings("cpu")
    return train_network(network, images, val, recipe=recipe, out=out, settings=settings)


def test_frozen_stages_keep_weights_and_statistics(images: ImageSet, tmp_path: Path) -> None:
    network = zoo.create_model("edgenext_xx_small_bn_hs", 10)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    result = train(
        images, None, tmp_path, network, from_scratch=False, freeze=("stem", "stage1", "stage2")
    )
    changed = {k for k, v in load_file(result.weights).items() if not torch.equal(v, before[k])}
    parts = {".".join(k.split(".")[:2]) for k in changed}
    assert {"stages.2", "stages.3", "downsample_layers.2", "head.weight"} <= parts
    assert not {"stages.0", "stages.1", "downsample_layers.0", "downsample_layers.1"} & parts


def test_early_stopping_takes_the_best_weights(
    images: ImageSet, val: ImageSet, tmp_path: Path
) -> None:
    result = train(images, val, tmp_path, epochs=9, early_stop=2, lr=0.0)  # nothing gets better
    assert (result.epochs, result.epoch) == (3, 1)
    sidecar = json.loads(result.sidecar.read_text())
    assert sidecar["chosen"] is True and sidecar["epoch"] == 1
    best, weights = load_file(tmp_path / "best-ema.safetensors"), load_file(result.weights)
    assert all(torch.equal(v, best[k]) for k, v in weights.items())
    with pytest.raises(UsageError, match="early_stop needs validation images"):
        train(images, None, tmp_path, early_stop=2)


@pytest.mark.parametrize("values", [{"mixup": 0.8}, {"cutmix": 1.0}])
def test_images_are_mixed_in_batches_of_any_size(
    images: ImageSet, tmp_path: Path, values: dict[str, object]
) -> None:
    mixed = train(images, None, tmp_path / "mixed", epochs=1, mixing=1.0, **values)  # 33 images
    plain = train(images, None, tmp_path / "plain", epochs=1)
    assert mixed.weights.read_bytes() != plain.weights.read_bytes()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains(images: ImageSet, tmp_path: Path, precision: str) -> None:
    network = zoo.create_model("edgenext_xx_small", 10)
    result = train(images, None, tmp_path, network, precision=precision)
    assert all(v.dtype != torch.bfloat16 for v in load_file(result.weights).values())
    assert result.history[1].loss < result.history[0].loss


def test_accumulated_batches_are_one_step(images: ImageSet, tmp_path: Path) -> None:
    """Without batch norms, the gradients of two batches are those of one twice as large."""
    same = {"shift": 0, "scale": 0, "epochs": 1, "label_smoothing": 0}
    states = []
    for batch, accumulate in ((32, 1), (16, 2)):
        torch.manual_seed(0)
        network = zoo.create_model("edgenext_xx_small", 10)
        out = tmp_path / str(batch)
        part = images.take(range(32))
        result = train(
            part, None, out, network, batch_size=batch, accumulate=accumulate,
            optimizer="sgd", lr=0.1, **same,
        )  # fmt: skip
        states.append(load_file(result.weights))
        assert torch.load(out / "checkpoint.pth", weights_only=True)["position"]["steps"] == 1
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, atol=1e-6, rtol=1e-3)


def test_what_is_left_in_the_folder(images: ImageSet, val: ImageSet, tmp_path: Path) -> None:
    settings = TrainSettings("cpu", keep=2, tensorboard=True)
    train(images, val, tmp_path, settings=settings, epochs=3)
    names = {p.name for p in tmp_path.iterdir()}
    assert {"checkpoint-0002.pth", "checkpoint-0003.pth", "tensorboard"} <= names
    assert "checkpoint-0001.pth" not in names
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    expected = {"loss", "lr", "top1", "top5", "raw_top1", "raw_top5", "images_per_s", "seconds"}
    assert expected <= lines[0].keys()
    with Image.open(io.BytesIO((tmp_path / "curves.png").read_bytes())) as curves:
        assert curves.size[0] > 800
    events = list((tmp_path / "tensorboard").iterdir())
    assert len(events) == 1 and events[0].stat().st_size > 200


def test_there_is_no_such_accelerator() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="unknown accelerator 'gpu'"):
        resolve_device("gpu")
    if not torch.cuda.is_available():
        assert resolve_device("auto").type in ("cpu", "mps")
        with pytest.raises(UsageError, match="there is no cuda device"):
            resolve_device("cuda")


def test_too_little_memory_says_what_needs_half() -> None:
    with (
        pytest.raises(EdgenextError, match="--batch-size 32 --accumulate 2"),
        enough_memory(TrainRecipe()),
    ):
        torch.empty(1 << 60, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="size"), enough_memory(TrainRecipe()):
        torch.zeros(2) @ torch.zeros(3)
