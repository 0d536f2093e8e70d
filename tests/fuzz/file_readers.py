"""Files of users: specimens, and what the package does with them."""

from __future__ import annotations

import io
import json
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.mutations import header_mutation, json_mutation, message_mutation

# --- artifacts ---------------------------------------------------------------------------------


def write_tiny(folder: Path) -> None:
    from tiny_artifacts import tiny_artifact

    tiny_artifact(folder, "it")


def seal_artifact(folder: Path) -> None:
    """Give the manifest of an artifact the sha256 of its changed content."""
    from edgenext.formats.artifact import content_sha256, manifest_path

    manifest = next(p for p in folder.glob("*.json") if p.with_suffix("").exists())
    artifact = manifest.with_suffix("")
    try:
        values = json.loads(manifest.read_bytes())
        values["sha256"] = content_sha256(artifact)
        manifest_path(artifact).write_text(json.dumps(values))
    except (ValueError, TypeError, RecursionError):
        return


def first_artifact(folder: Path) -> Path:
    return next(p.with_suffix("") for p in folder.glob("*.json") if p.with_suffix("").exists())


def open_it(folder: Path) -> Any:
    from edgenext.commands.subject import open_subject

    return open_subject(str(first_artifact(folder)))


def read_graph(folder: Path) -> None:
    from edgenext.export.deployment_graph import read_graph

    subject = open_it(folder)
    if subject is not None:
        read_graph(subject.artifact)


def run_file(folder: Path) -> None:
    """What `edgenext eval` does with a file: open it, and compute the logits of two images."""
    from edgenext.formats.session import logits

    subject = open_it(folder)
    if subject is None:
        return
    size = subject.transform.size
    list(logits(subject.session(threads=1), np.zeros((2, size, size, 3), np.uint8)))


def write_foreign(folder: Path) -> None:
    """A file without a manifest, whose metadata says all that is needed."""
    from foreign_files import LABELS, write_classifier

    about = {"labels": json.dumps(LABELS), "mean_values": "128", "scale_values": "64 64 64"}
    write_classifier(folder / "it.onnx", None, **about)
    names = {"names": str(dict(enumerate(LABELS))), "imgsz": "[32, 32]", "std": "0.5"}
    (folder / "metadata.json").write_text(json.dumps([about, names]))


def adopt_file(folder: Path) -> None:
    """What `edgenext adopt` does."""
    from edgenext import api

    api.adopt(folder / "it.onnx")


def read_metadata(folder: Path) -> None:
    """What others' files say of images and classes, whatever their texts are."""
    from edgenext.errors import InputError
    from edgenext.formats.foreign import image_facts
    from edgenext.system.parsing import read_json

    sections = read_json(folder / "metadata.json")
    if not isinstance(sections, list) or not all(isinstance(s, dict) for s in sections):
        raise InputError("no metadata")
    facts = [image_facts({k: str(v) for k, v in section.items()}) for section in sections]
    if not all(fact.std for fact in facts):
        raise InputError("the metadata has no deviation")


def tflite_metadata(folder: Path) -> None:
    from edgenext.errors import InputError
    from edgenext.formats.tflite.describe import image_facts_of

    (path,) = folder.glob("*.tflite")
    if image_facts_of(path).mean is None:
        raise InputError("the metadata has no mean")


def use_graph(folder: Path) -> None:
    """What `edgenext quantize` does with a graph before it is calibrated."""
    import onnx_ir as ir

    from edgenext.export.deployment_graph import read_graph
    from edgenext.formats.isolated_session import require_no_crash
    from edgenext.graph.sites import find_sites

    subject = open_it(folder)
    if subject is not None:
        require_no_crash(subject.artifact)
        find_sites(ir.from_proto(read_graph(subject.artifact).model).graph)


def exported(format_: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        from edgenext import api
        from edgenext.options import ExportOptions, ModelOptions

        model = ModelOptions(random_weights=True, num_classes=10, size=32)
        api.export("edgenext_xx_small", model, ExportOptions(format=format_), out=folder)

    return build


def onnx_mutation(data: bytes, rng: random.Random) -> bytes:
    import onnx

    return message_mutation(onnx.ModelProto)(data, rng)


def mlmodel_mutation(data: bytes, rng: random.Random) -> bytes:
    from coremltools import proto

    return message_mutation(proto.Model_pb2.Model)(data, rng)


def write_package(folder: Path) -> None:
    from devices.pooled_packages import core_package

    core_package(folder, "it", 0)


# --- weights -----------------------------------------------------------------------------------

XXS = "edgenext_xx_small"


def random_weights() -> Any:
    from edgenext.models.random_weights import random_state

    return random_state(XXS, 10, 0)


def safetensors(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(random_weights(), folder / "it.safetensors")
    sidecar = {"arch": XXS, "num_classes": 10, "eval": {"size": 64}, "labels": list("0123456789")}
    (folder / "it.json").write_text(json.dumps(sidecar))
    (folder / "labels.txt").write_text("".join(f"n{i}\tclass {i}\n" for i in range(10)))


def torch_file(zipped: bool) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        import torch

        torch.save(
            {"model": random_weights(), "epoch": 3, "args": {"lr": 0.1}},
            folder / "it.pth",
            _use_new_zipfile_serialization=zipped,
        )

    return build


def load_weights(folder: Path) -> None:
    from edgenext.models.checkpoint import load_checkpoint

    labels = folder / "labels.txt"
    weights = next(p for p in folder.iterdir() if p.suffix in (".safetensors", ".pth"))
    load_checkpoint(None, weights, labels=labels if labels.exists() else None)


def safetensors_header(data: bytes, rng: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.4 or size > len(data):
        return header_mutation(data, rng)
    header = json_mutation(data[8 : 8 + size], rng)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def training_state() -> Any:
    import torch

    from edgenext.train.ema import Ema
    from edgenext.train.recipe import TrainRecipe
    from edgenext.train.state import TrainingState

    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    recipe = TrainRecipe(epochs=2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    ema = Ema(network, 0.9)
    return TrainingState(network, ema, optimizer, scaler, recipe, XXS, "0" * 64, None)


def write_training(folder: Path) -> None:
    from edgenext.train.checkpoint import save_checkpoint
    from edgenext.train.recipe import EpochReport

    state = training_state()
    state.history.append(EpochReport(1, 2, 0.5, 0.1, 3.0, None))
    save_checkpoint(state, folder / "checkpoint.pth")


def resume_training(folder: Path) -> None:
    import torch

    from edgenext.train.checkpoint import restore_checkpoint

    state = training_state()
    restore_checkpoint(state, folder / "checkpoint.pth")
    state.network(torch.ones(1, 3)).sum().backward()
    state.optimizer.step()  # what was restored must be usable


# --- images ------------------------------------------------------------------------------------

ENDINGS = {"jpg": "JPEG", "png": "PNG", "bmp": "BMP", "webp": "WEBP", "ppm": "PPM", "tif": "TIFF"}


def picture(rng: random.Random, kind: str, size: tuple[int, int] = (40, 36)) -> bytes:
    from PIL import Image

    pixels = np.frombuffer(rng.randbytes(size[0] * size[1] * 3), np.uint8).reshape(*size, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_pictures(folder: Path) -> None:
    rng = random.Random(0)  # noqa: S311 - pixels, no secrets
    for label in "ab":
        (folder / "data" / label).mkdir(parents=True)
        for ending, kind in ENDINGS.items():
            (folder / "data" / label / f"x.{ending}").write_bytes(picture(rng, kind))


def image_zip(folder: Path) -> None:
    write_pictures(folder)
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        for path in sorted((folder / "data").rglob("*.*")):
            archive.write(path, path.relative_to(folder / "data"))
    shutil.rmtree(folder / "data")


def image_shard(folder: Path) -> None:
    write_pictures(folder)
    with tarfile.open(folder / "data.tar", "w") as archive:
        for path in sorted((folder / "data").rglob("*.*")):
            archive.add(path, path.relative_to(folder / "data"))
    shutil.rmtree(folder / "data")


def load_images(folder: Path) -> None:
    from edgenext.data import load_images
    from edgenext.schema import EvalTransform

    data = next(p for p in folder.iterdir() if p.name.startswith("data"))
    for limit in (None, 2):
        load_images(
            data,
            EvalTransform(size=32),
            role="val",
            num_classes=2,
            limit=limit,
            cache_dir=folder / "cache",
            workers=1,
        )


# --- configurations, runs, caches --------------------------------------------------------------


def write_config(folder: Path) -> None:
    from edgenext.commands.demo import write_demo_toml

    write_demo_toml(folder / "run.toml")


def read_config(folder: Path) -> None:
    from edgenext.commands.config import read_config

    read_config(folder / "run.toml", {})


def write_recipe(folder: Path) -> None:
    from edgenext.targets.target import recipe_text

    (folder / "recipe.toml").write_text(recipe_text("cpu-onnxruntime", "w8a8-static"))


def read_recipe(folder: Path) -> None:
    from edgenext.quantize.recipe import load_recipe

    load_recipe("cpu-onnxruntime", file=folder / "recipe.toml")


def run_folder(folder: Path) -> None:
    from report.report_runs import measured, save

    from edgenext.schema import EvalTransform, EvaluatedImages

    run, arrays = measured()
    save(folder, run, arrays)
    n = len(arrays["labels"])
    images = EvaluatedImages(
        names=tuple(f"val/{i}.png" for i in range(n)),
        hashes=("0" * 16,) * n,
        classes=tuple(map(str, range(20))),
        transform=EvalTransform(),
    )
    (folder / "images.json").write_text(images.model_dump_json())
    (folder / "devices").mkdir()
    (folder / "devices" / "one.json").write_text(run.bench.model_dump_json())


def report_on(folder: Path) -> None:
    from edgenext.report import write_report

    write_report(folder)


def write_caches(folder: Path) -> None:
    from edgenext.commands.stages import Stages
    from edgenext.schema.key import Inputs

    stages = Stages(folder, lambda *_: None)
    (folder / "file").write_text("x")
    stages.stage("one", Inputs(versions={}), lambda: [folder / "file"])
    record = {"name": XXS, "sha256": "0" * 64, "size_bytes": 1, "url": "https://example.org"}
    (folder / "weights").mkdir()
    (folder / "weights" / "edgenext_xx_small.sha256.json").write_text(json.dumps(record))
    resume = {"url": "https://example.org", "version": '"etag"', "total": 100}
    (folder / "it.pth.part.json").write_text(json.dumps(resume))


def read_caches(folder: Path) -> None:
    from edgenext.commands.stages import Stages
    from edgenext.models.cache import find_published, known_sha256
    from edgenext.schema.key import Inputs

    stages = Stages(folder, lambda *_: None)
    stages.stage("one", Inputs(versions={}), lambda: [folder / "file"])
    find_published("0" * 64, folder)
    known_sha256(XXS, folder)


def write_registry(folder: Path) -> None:
    from edgenext.devices.registry import DeviceFile
    from edgenext.schema import Device

    devices = {
        "nano": Device(name="nano", kind="jetson", ssh="a@b"),
        "mac": Device(name="mac", kind="iphone", bundle="folder"),
    }
    (folder / "devices.json").write_text(DeviceFile(devices=devices).model_dump_json(indent=2))


def read_registry(folder: Path) -> None:
    import os

    from edgenext.devices.registry import find_device, known_devices

    os.environ["EDGENEXT_DEVICES"] = str(folder / "devices.json")
    known_devices()
    find_device("nano")
