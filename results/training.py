"""Training: speed against a plain loop, and what fine-tuning and distillation bring."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from inputs import MODEL, train_images, val_images
from torch.nn import functional as F

from edgenext import api
from edgenext.data import load_photos
from edgenext.models import zoo
from edgenext.options import ModelOptions
from edgenext.schema import EvalTransform
from edgenext.train import TrainRecipe, load_recipe
from edgenext.train.accelerator import TrainSettings
from edgenext.train.hooks import Hooks
from edgenext.train.loop import train_network
from edgenext.train.optimizer import make_optimizer
from edgenext.train.photos import PhotoBatches, training_transform
from edgenext.train.sampler import epoch_batches

SIDE, BATCH, IMAGES, ROUNDS, WORKERS = 64, 64, 1280, 5, 2
EPOCHS = 12
"""Of the trainings that are compared with each other."""
GROUPS = {
    "food": ("n07753592", "n07747607"),
    "animal": ("n02123045", "n02481823"),
    "vehicle": ("n04487081", "n02917067"),
}
"""Three classes, each of two of Tiny-ImageNet's: 150 of its validation images in all."""
SEEDS = (0, 1, 2)


def training(data: Path, weights: Path, folder: Path) -> dict[str, Any]:
    """Every figure that docs/training.md shows."""
    return {
        "digits": _digits(folder),
        "speed": _speed(data, folder),
        "finetuning": _finetuning(data, weights, folder),
        "distillation": _distillation(data, weights, folder),
    }


def _digits(folder: Path) -> dict[str, Any]:
    options = ModelOptions(size=32)
    prepared = api.prepare_training(MODEL, "digits", load_recipe("small"), options)
    result = api.train(prepared, out=folder / "digits")
    return {"top1": result.top1, "seconds": round(result.seconds, 1), "epochs": result.epochs}


class _Clock(Hooks):
    """When each step of a training ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def step(self, *_: object) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def _speed(data: Path, folder: Path) -> dict[str, Any]:
    """Images a second: decoding alone, steps alone, our loop, and a plain one, in turn."""
    tree = folder / "tree"
    with zipfile.ZipFile(train_images(data)) as archive:
        archive.extractall(tree)
    transform = EvalTransform(size=SIDE)
    photos = load_photos(tree, transform, num_classes=200)
    photos = _part(photos, IMAGES)
    recipe = load_recipe(
        MODEL, batch_size=BATCH, accumulate=1, precision="fp32", multi_scale=False, epochs=1
    )
    loops: dict[str, Callable[[], float]] = {
        "decode and augment": lambda: _rate(_loaded(photos, recipe)),
        "steps": lambda: _rate(_steps(recipe)),
        "this package": lambda: _ours(photos, recipe, folder / "ours"),
        "plain loop": lambda: _rate(_plain(photos, recipe)),
    }
    rounds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, measure in loops.items():
            rounds[name].append(round(measure(), 1))
    ratios = [a / b for a, b in zip(rounds["this package"], rounds["plain loop"], strict=True)]
    return {
        "images_per_s": {name: median(values) for name, values in rounds.items()},
        "rounds": rounds,
        "ratio": round(median(ratios), 3),
        "ratios": [round(r, 3) for r in ratios],
        "side": SIDE,
        "batch": BATCH,
        "workers": WORKERS,
        "threads": torch.get_num_threads(),
    }


def _part(photos: Any, n: int) -> Any:
    from dataclasses import replace

    return replace(
        photos, paths=photos.paths[:n], labels=photos.labels[:n], hashes=photos.hashes[:n]
    )


def _rate(batches: Iterator[int]) -> float:
    """Images a second, without the first two batches: workers start and buffers are made."""
    times, images = [], 0
    for number, n in enumerate(batches):
        times.append(time.perf_counter())
        images += n if number > 1 else 0
    return images / (times[-1] - times[1])


def _loaded(photos: Any, recipe: TrainRecipe) -> Iterator[int]:
    batches = epoch_batches(len(photos), SIDE, recipe, 0)
    for x, _ in PhotoBatches(photos, recipe, WORKERS).load(batches, 0):
        yield len(x)


def _steps(recipe: TrainRecipe) -> Iterator[int]:
    network = zoo.create_model(MODEL, 200).train().to(memory_format=torch.channels_last)
    optimizer = make_optimizer(network, recipe)
    x = torch.randn(BATCH, 3, SIDE, SIDE).to(memory_format=torch.channels_last)
    y = torch.randint(200, (BATCH,))
    for _ in range(12):
        F.cross_entropy(network(x), y, label_smoothing=0.1).backward()
        optimizer.step()
        optimizer.zero_grad()
        yield BATCH


def _ours(photos: Any, recipe: TrainRecipe, out: Path) -> float:
    clock = _Clock()
    network = zoo.create_model(MODEL, 200)
    settings = TrainSettings("cpu", WORKERS, checkpoint_minutes=0)
    train_network(network, photos, None, recipe=recipe, out=out, hooks=clock, settings=settings)
    return BATCH * (len(clock.times) - 2) / (clock.times[-1] - clock.times[1])


def _plain(photos: Any, recipe: TrainRecipe) -> Iterator[int]:
    """A loop as in published training code: torchvision's folder, timm's transform and average."""
    from timm.utils import ModelEma
    from torchvision.datasets.folder import pil_loader

    transform = training_transform(photos, recipe, SIDE)

    class Folder(torch.utils.data.Dataset[Any]):
        def __getitem__(self, i: int) -> Any:
            image = pil_loader(str(photos.data / photos.paths[i]))
            return transform(image), int(photos.labels[i])

        def __len__(self) -> int:
            return len(photos)

    loader = torch.utils.data.DataLoader(
        Folder(), BATCH, shuffle=True, num_workers=WORKERS, drop_last=True
    )
    network = zoo.create_model(MODEL, 200).train()
    average = ModelEma(network, decay=recipe.ema_decay)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    for x, y in loader:
        loss = F.cross_entropy(network(x), y, label_smoothing=recipe.label_smoothing)
        loss.item()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update(network)
        yield len(x)


def _finetuning(data: Path, weights: Path, folder: Path) -> dict[str, Any]:
    """150 photographs of three classes: from Tiny-ImageNet's weights, and from scratch."""
    photos = _three_classes(data, folder / "photos")
    rows: dict[str, list[dict[str, Any]]] = {"from weights": [], "from scratch": []}
    for seed in SEEDS:
        for name, options in (
            ("from weights", ModelOptions(weights)),
            ("from scratch", ModelOptions(size=SIDE)),
        ):
            decay = {} if name == "from weights" else {"layer_decay": 1.0}
            recipe = load_recipe("finetune", epochs=EPOCHS, seed=seed, **decay)
            prepared = api.prepare_training(MODEL, photos, recipe, options)
            result = api.train(prepared, out=folder / f"{name}-{seed}")
            row = {"seed": seed, "top1": result.top1, "n": len(prepared.val)}
            rows[name].append(row | {"seconds": round(result.seconds, 1)})
    return {"photos": 150, "epochs": EPOCHS, **rows}


def _three_classes(data: Path, folder: Path) -> Path:
    with zipfile.ZipFile(val_images(data)) as archive:
        for group, wnids in GROUPS.items():
            for member in archive.namelist():
                parts = Path(member).parts
                if any(w in parts for w in wnids) and not member.endswith("/"):
                    target = folder / group / f"{parts[-2]}-{parts[-1]}"
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(member))
    return folder


def _distillation(data: Path, weights: Path, folder: Path) -> dict[str, Any]:
    """5,000 images from scratch, with and without the trained network as teacher; paired."""
    results = {}
    for name in ("labels alone", "with the teacher"):
        recipe = load_recipe(
            "usi", epochs=EPOCHS, batch_size=BATCH, precision="fp32", warmup_epochs=2,
            ema_decay=0.99, mixing=0.5,
        )  # fmt: skip
        recipe = recipe.model_copy(update={"ema_ramp": True})
        prepared = api.prepare_training(
            MODEL, train_images(data), recipe, ModelOptions(size=SIDE), val_data=val_images(data)
        )
        hooks = None
        if name == "with the teacher":
            teacher = api.open_teacher(str(weights), 200)
            hooks = api.Distillation(teacher, prepared.checkpoint.eval)
        settings = TrainSettings("cpu", WORKERS)
        results[name] = api.train(prepared, out=folder / name, hooks=hooks, settings=settings)
    files = [
        api.export(MODEL, ModelOptions(r.weights), out=folder / f"onnx-{i}")
        for i, r in enumerate(results.values())
    ]
    report = api.compare(str(files[0].path), [str(files[1].path)], val_images(data))
    return {
        "epochs": EPOCHS,
        "images": 5000,
        "n": report.n,
        "seconds": {name: round(r.seconds, 1) for name, r in results.items()},
        "top1": {name: r.top1 for name, r in results.items()},
        "comparison": report.comparisons[0].model_dump(mode="json"),
    }
