"""The parts of training one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from edgenext.data import load_images
from edgenext.errors import UsageError
from edgenext.models import zoo
from edgenext.models.network import DropPath
from edgenext.schema import EvalTransform
from edgenext.train import TrainRecipe
from edgenext.train.batches import DecodedBatches, augment, normalise_tensor, to_tensor
from edgenext.train.ema import Ema
from edgenext.train.optimizer import initialise, learning_rate, make_optimizer, set_drop_path
from edgenext.train.sampler import epoch_batches

UNCHANGED = TrainRecipe(shift=0, scale=0)


@pytest.mark.parametrize(
    "field",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"lr": -1e-3},
        {"drop_path": 1.0},
        {"ema_decay": 1.5},
        {"seed": -1},
    ],
)
def test_a_recipe_out_of_range(field):
    (name,) = field
    with pytest.raises(UsageError, match=f"^{name} is .*, which is out of range. Use "):
        TrainRecipe(**field)


@pytest.mark.parametrize("lr", [float("nan"), float("inf")])
def test_a_recipe_that_is_not_finite(lr: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        TrainRecipe(lr=lr)


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine():
    recipe = TrainRecipe(epochs=12, warmup_epochs=2, lr=1.0)
    assert learning_rate(recipe, 0) == 0
    assert learning_rate(recipe, 1) == 0.5
    assert learning_rate(recipe, 2) == 1
    assert learning_rate(recipe, 7) == pytest.approx(0.5)
    assert learning_rate(recipe, 12) == pytest.approx(0)
    assert learning_rate(TrainRecipe(epochs=1, warmup_epochs=0, lr=1.0), 0) == 1
    assert learning_rate(TrainRecipe(epochs=1, warmup_epochs=5, lr=1.0), 1) == 0.2


@pytest.mark.parametrize("arch", ["edgenext_xx_small", "edgenext_xx_small_bn_hs"])
def test_only_matrices_decay(arch):
    network = zoo.create_model(arch, 10)
    decayed, free = make_optimizer(network, TrainRecipe(weight_decay=0.3)).param_groups
    names = {id(p): n for n, p in network.named_parameters()}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0)
    assert len(decayed["params"]) + len(free["params"]) == len(names)
    free_names = {names[id(p)].rsplit(".", 1)[-1] for p in free["params"]}
    assert free_names == {"bias", "weight", "gamma", "gamma_xca", "temperature"}
    assert all(p.ndim >= 2 for p in decayed["params"])
    for p in free["params"]:
        assert p.ndim == 1 or names[id(p)].endswith("temperature")


def test_the_average_forgets_its_start_and_copies_counters():
    network = torch.nn.BatchNorm1d(1)
    ema = Ema(network, decay=0.9)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.num_batches_tracked.fill_(7)
    ema.update(network, 0)  # decay 1/10
    assert ema.network.weight.item() == pytest.approx(0.1 * 1 + 0.9 * 3)
    assert ema.network.num_batches_tracked.item() == 7
    ema.update(network, 10_000)  # decay 0.9: the limit
    assert ema.network.weight.item() == pytest.approx(0.9 * 2.8 + 0.1 * 3)
    assert network.weight.item() == 3 and not ema.network.weight.requires_grad


def test_drop_path_rises_to_the_last_block():
    network = zoo.create_model("edgenext_xx_small", 10)
    set_drop_path(network, 0.2)
    rates = [m.rate for m in network.modules() if isinstance(m, DropPath)]
    assert rates[0] == 0 and rates[-1] == pytest.approx(0.2) and rates == sorted(rates)


def test_initial_weights_are_drawn_from_the_generator():
    a, b = (zoo.create_model("edgenext_xx_small", 10) for _ in range(2))
    for network in (a, b):
        torch.manual_seed(3)
        initialise(network)
    for name, value in a.state_dict().items():
        assert torch.equal(value, b.state_dict()[name]), name


def test_tensors_are_normalised_as_published():
    rng = np.random.default_rng(0)
    images, t = rng.integers(0, 256, (4, 32, 32, 3), np.uint8), EvalTransform()
    expected = (images / 255 - t.mean) / t.std
    x = normalise_tensor(to_tensor(images), t)
    np.testing.assert_allclose(x.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


def test_augmentation_shifts_scales_mirrors_and_can_be_off():
    x = torch.zeros(200, 3, 32, 32)
    x[:, :, 10:14, 4:8] = 1.0  # a spot on the left
    assert augment(x, UNCHANGED, torch.Generator()) is x
    generator = torch.Generator().manual_seed(0)
    columns = torch.arange(32.0)

    def centres(recipe: TrainRecipe) -> torch.Tensor:
        y = augment(x, recipe, generator)
        assert y.shape == x.shape
        profile = y.mean((1, 2))
        return (profile * columns).sum(1) / profile.sum(1)

    moved = centres(TrainRecipe(shift=0.1, scale=0))
    assert 5.5 - 3.3 < moved.min() < 3.5 and 7.5 < moved.max() < 5.5 + 3.3  # 0.1 of 32 each way
    flipped = centres(TrainRecipe(shift=0, scale=0, flip=0.5))
    assert 60 < (flipped > 16).sum() < 140
    assert torch.allclose(flipped.sort().values[[0, -1]], torch.tensor([5.5, 25.5]), atol=1e-3)
    zoomed = augment(x, TrainRecipe(shift=0, scale=0.2), generator).sum((1, 2, 3)) / x[0].sum()
    assert zoomed.min() < 0.8 and zoomed.max() > 1.2


def test_an_epoch_has_every_image_once():
    images = load_images("digits", EvalTransform(size=32), role="val", num_classes=10, limit=50)
    recipe = TrainRecipe(batch_size=16, shift=0, scale=0)
    batches = epoch_batches(50, 32, recipe, 0)
    loaded = list(DecodedBatches(images, recipe).load(batches, 0))
    assert [len(y) for _, y in loaded] == [13, 13, 12, 12]
    images_seen = {x.numpy().tobytes() for xs, _ in loaded for x in xs}
    assert len(images_seen) == 50
