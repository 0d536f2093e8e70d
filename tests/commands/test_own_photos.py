"""Folders of photos: classes inferred, divided, weights with a head of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from edgenext import api
from edgenext.commands.config import make_config
from edgenext.commands.context import Context
from edgenext.commands.images import calibration_images, labelled_images
from edgenext.commands.run_plan import planned_run
from edgenext.commands.stages import silent
from edgenext.commands.subject import Subject
from edgenext.commands.train import Training, prepare_training, train
from edgenext.errors import CheckpointError, DataError
from edgenext.models.random_weights import random_state
from edgenext.options import DataOptions, ModelOptions, QuantizeOptions
from edgenext.train import TrainRecipe

XXS = "edgenext_xx_small"
RECIPE = TrainRecipe(epochs=1, batch_size=16)
CLASSES = ("ant", "bee", "cat")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, without published weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def photos(each: int = 10, name: str = "photos", classes: tuple[str, ...] = CLASSES) -> Path:
    rng = np.random.default_rng(0)
    for label in classes:
        Path(name, label).mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 256, (36, 40, 3), np.uint8)
            Image.fromarray(pixels).save(Path(name, label, f"{i}.png"))
    return Path(name)


def weights(classes: int, **sidecar: object) -> Path:
    path = Path("net.safetensors")
    save_file(random_state(XXS, classes, 0), path)
    if sidecar:
        path.with_suffix(".json").write_text(json.dumps(sidecar))
    return path


def prepared(data: Path, **options: object) -> Training:
    return prepare_training(XXS, data, RECIPE, ModelOptions(size=32, **options))


def test_classes_and_sides_follow_from_the_folders() -> None:
    training = prepared(photos())
    assert training.images.classes == training.val.classes == CLASSES
    assert (len(training.images), len(training.val)) == (24, 6)
    assert training.checkpoint.num_classes == 3 and training.recipe.from_scratch
    assert training.images.info.division == training.val.info.division
    assert training.summary == (
        f"training {XXS} from scratch on 24 images of 3 classes, 1 epoch of 2 steps; "
        "top-1 is measured on 6 others; recipe small"
    )


@pytest.mark.parametrize(
    ("classes", "labels"),
    [(5, None), (5, list("abcde")), (3, ["dog", "emu", "fox"]), (1000, None)],
)
def test_weights_of_other_classes_get_a_new_head(
    classes: int, labels: list[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = weights(classes, **({"labels": labels, "class_names": labels} if labels else {}))
    training = prepared(photos(), weights=path)
    assert (training.checkpoint.num_classes, training.checkpoint.labels) == (3, None)
    assert training.checkpoint.class_names is None
    assert training.images.classes == CLASSES and not training.recipe.from_scratch
    assert f"the {classes} classes of net.safetensors are not the 3 of photos" in caplog.text


@pytest.mark.parametrize(
    ("classes", "labels"), [(3, None), (3, ["cat", "bee", "ant"]), (4, [*CLASSES, "dog"])]
)
def test_a_head_that_knows_the_classes_stays(
    classes: int, labels: list[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = weights(classes, **({"labels": labels} if labels else {}))
    training = prepared(photos(), weights=path)
    assert training.checkpoint.num_classes == classes
    assert training.images.classes == tuple(labels or CLASSES)
    assert "head" not in caplog.text
    assert (training.checkpoint.state["head.weight"] == random_state(XXS, classes, 0)[
        "head.weight"
    ]).all()  # fmt: skip


def test_the_model_may_be_left_out() -> None:
    training = prepare_training(None, photos(), RECIPE, ModelOptions(weights(7), size=32))
    assert training.checkpoint.arch == XXS and training.name == f"{XXS}_photos"


def test_photos_that_cannot_be_trained_on(folder: Path) -> None:
    with pytest.raises(DataError, match="has one class, ant: a classifier needs two"):
        prepared(photos(classes=("ant",), name="one"))
    flat = folder / "flat"
    flat.mkdir()
    Image.new("RGB", (40, 40)).save(flat / "a.png")
    with pytest.raises(DataError, match="flat has no class folders"):
        prepared(flat)


def test_later_commands_use_the_images_that_training_held_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = photos()
    training = prepared(data)
    result = train(training, out=Path("training"))
    sidecar = json.loads(result.sidecar.read_text())
    assert sidecar["labels"] == list(CLASSES)
    assert sidecar["division"]["share"] == 0.2 == sidecar["trained_on"]["division"]["share"]
    context, options = Context(), ModelOptions(result.weights, size=32)
    subject = Subject(checkpoint=context.checkpoint(None, options))
    assert labelled_images(context, subject, DataOptions(data)).hashes == training.val.hashes
    assert "held out from training and calibration" in caplog.text
    calibrated = calibration_images(context, subject, QuantizeOptions(calib=data))
    assert set(calibrated.hashes) == set(training.images.hashes)
    assert "calibrates on 24 images" in caplog.text
    artifact = api.export(None, options, out=Path())
    assert artifact.manifest.division == training.val.info.division
    report = api.evaluate([str(artifact.path)], data)
    assert report.results[0].data.sha256 == training.val.info.sha256
    elsewhere = photos(2, "others")  # another data set is used whole
    assert len(labelled_images(context, subject, DataOptions(elsewhere))) == 6
    Image.new("RGB", (40, 40)).save(data / "ant" / "new.png")
    with pytest.raises(DataError, match="photos has changed since it was divided for training"):
        labelled_images(Context(), subject, DataOptions(data))


def test_going_on_keeps_the_division(caplog: pytest.LogCaptureFixture) -> None:
    data = photos()
    first = prepared(data)
    result = train(first, out=Path("training"))
    options = ModelOptions(result.weights)
    again = prepare_training(None, data, TrainRecipe(epochs=1, seed=5), options)
    assert again.val.hashes == first.val.hashes
    Image.new("RGB", (40, 40)).save(data / "ant" / "new.png")
    prepare_training(None, data, RECIPE, options)
    assert "photos has changed since the weights were trained on it" in caplog.text


def run_config(data: Path, **more: object) -> dict[str, object]:
    settings: dict[str, object] = {
        "model": XXS, "data": str(data), "size": 32, "out": "run", "baselines": [],
        "bench": {"rounds": 1},
    }  # fmt: skip
    return settings | more


def test_a_run_with_weights_divides_into_calibration_and_evaluation() -> None:
    data = photos()
    config = make_config(run_config(data, weights=weights(3)))
    with planned_run(config, Context(), silent) as plan:
        assert plan.trained is None
        assert (plan.evaluation.info.n, plan.evaluation.info.division.share) == (15, 0.5)
        (settings,) = plan.settings.values()
        images = calibration_images(plan.context, plan.subject, settings.options)
    assert len(images) == 15 and not set(images.hashes) & set(plan.evaluation.hashes)


def test_images_for_evaluation_alone_are_not_divided() -> None:
    config = make_config(run_config(photos(), weights=weights(3), calib="digits"))
    with planned_run(config, Context(), silent) as plan:
        assert len(plan.evaluation) == 30 and plan.evaluation.info.division is None


def test_a_run_without_weights_trains() -> None:
    said: list[str] = []
    config = make_config(run_config(photos(), epochs=1))
    with planned_run(config, Context(), lambda stage, _: said.append(stage)) as plan:
        assert plan.trained and plan.trained["epochs"] == 1
        assert plan.checkpoint.labels == CLASSES
        assert (len(plan.evaluation), plan.evaluation.info.division.share) == (6, 0.2)
    assert said[0].startswith(
        "photos: 6 images to evaluate on can show that top-1 drops by less than 39.0"
    )
    assert "from scratch on 24 images" in said[1]


def test_a_run_without_weights_of_imagenets_classes_asks_for_them() -> None:
    data = photos(classes=("n01440764", "n01443537", "n01484850"))
    with (
        pytest.raises(CheckpointError, match=f"Run `edgenext fetch {XXS}`"),
        planned_run(make_config(run_config(data)), Context(), silent),
    ):
        pass


def test_weights_that_know_some_of_the_classes_are_not_trained_anew() -> None:
    path = weights(3, labels=["ant", "bee", "dog"])
    with (
        pytest.raises(DataError, match="1 of 3 classes in photos are unknown to the model: cat"),
        planned_run(make_config(run_config(photos(), weights=path)), Context(), silent),
    ):
        pass


def test_one_command_from_photos_to_the_report() -> None:
    data = photos()
    files = api.run(make_config(run_config(data, weights=weights(7), epochs=1)))
    assert all(file.stat().st_size for file in files)
    record = json.loads(Path("run/run.json").read_text())
    assert record["eval"]["results"][0]["data"]["n"] == 6
    assert record["eval"]["results"][0]["data"]["division"] == record["calibration"]["division"]
    assert record["calibration"]["n"] == 24 and record["trained"]["epochs"] == 1
