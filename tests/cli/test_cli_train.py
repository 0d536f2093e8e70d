"""`edgenext train`: recipes and their values, data of its own, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_calls import Cli, Outcome
from photo_sets import photo_folder

XXS = "edgenext_xx_small"
QUICK = ("--size", "32", "--epochs", "1", "--workers", "0", "--accelerator", "cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("train") / "photos", 5)


Train = Callable[..., Outcome]


@pytest.fixture
def train(cli: Cli) -> Train:
    def run(data: Path, out: Path, *options: str) -> Outcome:
        return cli.run("train", XXS, "--data", data, "-o", out, *QUICK, *options)

    return run


def test_photographs_by_a_recipe_with_a_value_changed(
    train: Train, photos: Path, tmp_path: Path
) -> None:
    others = photo_folder(tmp_path / "others", 2)
    done = train(
        photos, tmp_path / "out", "--recipe", "finetune", "--set", "mixup=0.2", "--set",
        "mixing=1.0", "--set", 'freeze=["stem"]', "--batch-size", "8",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "scratch on 12 images of 3 classes, 1 epoch of 2 steps" in " ".join(done.err.split())
    assert "epoch 1/1: loss" in done.err and "edgenext_xx_small_photos.safetensors" in done.out
    facts = json.loads((tmp_path / "out" / "edgenext_xx_small_photos.json").read_text())
    changed = {"mixup": 0.2, "mixing": 1.0, "freeze": ["stem"], "loader": "photos"}
    assert {k: facts["recipe"][k] for k in changed} == changed
    done = train(photos, tmp_path / "other", "--val-data", str(others))
    assert done.code == 0, done.err  # photos that are in both sets are not trained on
    facts = json.loads((tmp_path / "other" / "edgenext_xx_small_photos.json").read_text())
    assert (facts["trained_on"]["n"], facts["evaluated_on"]["n"]) == (9, 6)


def test_a_recipe_is_chosen_and_said(train: Train, tmp_path: Path) -> None:
    photo_folder(tmp_path / "data" / "train", 2)
    photo_folder(tmp_path / "data" / "val", 1, first=9)
    done = train(tmp_path / "data", tmp_path / "out")
    assert done.code == 0
    assert "is measured on 3 others; recipe small" in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--set", "lable_smoothing=0.1"), 2, "Did you mean label_smoothing?"),
        (("--set", "mixing"), 2, "is not KEY=VALUE"),
        (("--set", "lr=fast"), 2, "lr:"),
        (("--set", "epochs=0"), 2, "epochs is 0, which is out of range"),
        (("--recipe", "finetun"), 2, "Did you mean finetune"),
        (("--recipe", "none.toml"), 3, "cannot read none.toml"),
        (("--accelerator", "gpu"), 2, "unknown accelerator 'gpu'"),
        (("--teacher", "none"), 2, "'none' is no teacher"),
        (("--teacher", "timm/x", "--hooks", "a.py:B"), 2, "exclude each other"),
        (("--hooks", "a.py"), 2, "names no hooks"),
        (("--workers", "-1", "--recipe", "finetune"), 2, "workers must be at least 0"),
        (("--recipe", "finetune", "--set", "randaugment=rnd"), 2, "RandAugment"),
    ],
)
def test_options_that_cannot_be(
    train: Train, photos: Path, tmp_path: Path, options: tuple[str, ...], code: int, message: str
) -> None:
    done = train(photos, tmp_path / "out", *options)
    assert (done.code, done.out) == (code, "") and message in " ".join(done.err.split()), done.err
    assert "Traceback" not in done.err and not list(tmp_path.glob("out/*.pth"))


def test_an_empty_class_folder(train: Train, tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos", 2)
    (tmp_path / "photos" / "yellow").mkdir()
    done = train(tmp_path / "photos", tmp_path / "out")
    assert done.code == 3 and "has no image of yellow to train on" in " ".join(done.err.split())
