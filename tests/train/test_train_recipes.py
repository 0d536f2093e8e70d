"""The published recipes as data, held against the published arithmetic."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from edgenext.errors import InputError, UsageError
from edgenext.models import zoo
from edgenext.train import TrainRecipe, load_recipe, recipe_names
from edgenext.train.ema import Ema
from edgenext.train.optimizer import (
    freeze,
    initialise,
    learning_rate,
    make_optimizer,
    parameter_groups,
)


def test_each_architecture_has_a_recipe() -> None:
    assert set(zoo.arch_table()) <= set(recipe_names())
    assert load_recipe("small") == TrainRecipe()


@pytest.mark.parametrize("name", sorted(zoo.arch_table()))
def test_the_published_values(name: str) -> None:
    recipe = load_recipe(name)
    large = "base" in name or "edgenext_small" in name
    expected = {
        "epochs": 300, "batch_size": 256, "accumulate": 2, "lr": 6e-3, "lr_min": 1e-6,
        "lr_start": 0.0, "warmup_epochs": 20, "weight_decay": 0.05, "decay_temperatures": True,
        "clip_norm": 0, "ema_decay": 0.9995, "ema_ramp": False, "label_smoothing": 0.1,
        "drop_path": 0.1 if large else 0.0, "flip": 0.5, "crop_least": 0.08, "erasing": 0,
        "randaugment": "rand-m9-mstd0.5-inc1" if large else "", "mixing": 0,
        "color_jitter": 0.0 if large else 0.4, "multi_scale": True, "optimizer": "adamw",
    }  # fmt: skip
    assert {key: getattr(recipe, key) for key in expected} == expected


def test_the_schedule_is_the_published_one_by_images() -> None:
    """Published: a table with an entry a step, linear in the warm-up, then a cosine."""
    recipe, steps = load_recipe("edgenext_small"), 50
    warm, rest = 20 * steps, 280 * steps
    table = [
        *np.linspace(0, 6e-3, warm),
        *(1e-6 + 0.5 * (6e-3 - 1e-6) * (1 + math.cos(math.pi * i / rest)) for i in range(rest)),
    ]
    ours = [learning_rate(recipe, (i + 1) / steps) for i in range(len(table))]
    # the rate of a step counts its own images: one step ahead of the table, and never 0
    np.testing.assert_allclose(ours[:-1], table[1:], atol=6e-3 / warm)
    assert ours[0] > 0 and ours[-1] == pytest.approx(1e-6)


def test_the_published_parameter_groups() -> None:
    network = zoo.create_model("edgenext_xx_small", 10)
    optimizer = make_optimizer(network, load_recipe("edgenext_xx_small"))
    decayed, free = optimizer.param_groups
    assert {p.ndim > 1 for p in decayed["params"]} == {True}  # temperatures among them
    assert {p.ndim for p in free["params"]} == {1}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.05, 0)
    assert (decayed["eps"], tuple(decayed["betas"])) == (1e-8, (0.9, 0.999))
    assert len(decayed["params"]) + len(free["params"]) == len(list(network.parameters()))


def test_the_published_average() -> None:
    network = torch.nn.Linear(2, 1)
    ema = Ema(network, 0.9995, ramp=False)
    before = network.weight.detach().clone()
    with torch.no_grad():
        network.weight.add_(1)
    ema.update(network, 0)
    expected = 0.9995 * before + 0.0005 * network.weight
    torch.testing.assert_close(ema.network.weight, expected)


def test_layers_near_the_input_learn_slower() -> None:
    network = zoo.create_model("edgenext_xx_small", 10)
    groups = parameter_groups(network, TrainRecipe(layer_decay=0.5))
    names = {id(p): n for n, p in network.named_parameters()}
    scales = {names[id(p)]: g["lr_scale"] for g in groups for p in g["params"]}
    assert scales["head.weight"] == scales["norm.bias"] == 1
    assert scales["stages.3.0.gamma"] == scales["downsample_layers.3.1.weight"] == 0.5
    assert scales["stages.0.0.gamma"] == 0.5**4
    assert scales["downsample_layers.0.0.weight"] == 0.5**5


def test_frozen_parts_are_in_no_group() -> None:
    network = zoo.create_model("edgenext_xx_small", 10)
    initialise(network)
    recipe = TrainRecipe(freeze=("stem", "stage1", "stage2"))
    freeze(network, recipe)
    groups = parameter_groups(network, recipe)
    trained = {id(p) for g in groups for p in g["params"]}
    names = [n for n, p in network.named_parameters() if id(p) not in trained]
    parts = {n.split(".")[0] + "." + n.split(".")[1] for n in names}
    assert parts == {"downsample_layers.0", "downsample_layers.1", "stages.0", "stages.1"}


def test_recipes_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("epochs = 3\nflip = true\n")
    assert load_recipe(str(file), lr=0.5) == TrainRecipe(
        recipe=str(file), epochs=3, flip=0.5, lr=0.5
    )
    file.write_text("label_smothing = 0.1\n")
    with pytest.raises(UsageError, match=r"label_smothing.*Did you mean label_smoothing"):
        load_recipe(str(file))
    file.write_text("epochs = \n")
    with pytest.raises(InputError, match=r"mine\.toml is not TOML"):
        load_recipe(str(file))
    with pytest.raises(InputError, match=r"cannot read .*none\.toml"):
        load_recipe(str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="Did you mean edgenext_small"):
        load_recipe("edgenext_smal")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mixup": 0.8}, "need mixing"),
        ({"multi_scale": True}, "needs loader = photos"),
        ({"optimizer": "adamv"}, "unknown optimizer 'adamv'"),
        ({"freeze": ("stem", "stage1", "stage2", "stage3", "stage4")}, None),
    ],
)
def test_values_that_exclude_each_other(values: dict[str, object], message: str | None) -> None:
    network = zoo.create_model("edgenext_xx_small", 10)
    if message is None:  # the head is always trained
        recipe = TrainRecipe(**values)
        freeze(network, recipe)
        assert len(parameter_groups(network, recipe)) == 2
        return
    with pytest.raises(UsageError, match=message):
        make_optimizer(network, TrainRecipe(**values))


def test_an_optimizer_of_timm() -> None:
    network = zoo.create_model("edgenext_xx_small", 10)
    optimizer = make_optimizer(network, TrainRecipe(optimizer="lamb", weight_decay=0.02))
    assert type(optimizer).__name__ == "Lamb"
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.02, 0]
