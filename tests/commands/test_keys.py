"""Keys of results: every field of everything that decides a result changes its key."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from tiny_artifacts import tiny_artifact

from edgenext.benchmark.environment import environment
from edgenext.commands.config import StressStage
from edgenext.commands.context import Context
from edgenext.commands.images import sample_images
from edgenext.commands.inputs import (
    BenchmarkInputs,
    DecisionInputs,
    EvaluateInputs,
    ExportInputs,
    NetworkFacts,
    QuantizeInputs,
    ReportInputs,
    SequenceInputs,
    ShardInputs,
    SiteRowInputs,
    TimingInputs,
    TrainInputs,
    TwinInputs,
)
from edgenext.commands.quantize import resolve_quantization
from edgenext.commands.stages import key
from edgenext.commands.subject import Subject
from edgenext.commands.timing_device import TimingDevice
from edgenext.commands.train import prepare_training
from edgenext.data.cache import DecodeInputs
from edgenext.export.settings import resolve
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import BenchOptions, ExportOptions, ModelOptions, QuantizeOptions
from edgenext.schema import Device, DeviceFacts, EvalTransform
from edgenext.schema.key import Inputs
from edgenext.system import versions
from edgenext.train import TrainRecipe

OPTIONS = ModelOptions(random_weights=True, num_classes=10, size=32)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[type[Inputs], Inputs]:
    """One of each kind, of real settings, images and files."""
    context, folder = Context(), tmp_path_factory.mktemp("keys")
    network = Subject(checkpoint=context.checkpoint("edgenext_xx_small", OPTIONS))
    assert network.checkpoint
    artifact = tiny_artifact(folder)
    file, images = Subject(artifact=artifact), sample_images(context, network, None)
    options = QuantizeOptions(target="jetson", calib="digits", n=16)
    export = ExportOptions(format="tensorrt", format_options={"jetpack": "5"}, opset=13)
    settings = resolve_quantization(options, export)
    tflite = resolve(ExportOptions(format="tflite", format_options={"converter": "tensorflow"}))
    recipe = TrainRecipe(epochs=1)
    training = prepare_training(
        "edgenext_xx_small", "digits", recipe, ModelOptions(size=32), context=context
    )
    sequence = SequenceInputs.of([file], ["a"], images, 0)
    (artifact.path.parent / "run.json").write_text("{}")
    inputs: list[Inputs] = [
        DecodeInputs.of(images.hashes, images.transform),
        TrainInputs.of(training),
        TwinInputs.of(network.checkpoint, StressStage()),
        ExportInputs.of(network.checkpoint, tflite, images),
        QuantizeInputs.of(network, settings, images, settings.recipe),
        SiteRowInputs.of(file, settings, images, images, labelled=True),
        EvaluateInputs.of([file, network], ["a", "b"], images),
        sequence,
        DecisionInputs.of(sequence, 0.5),
        BenchmarkInputs.of(
            [artifact],
            BenchOptions(),
            TimingDevice(
                Device(name="pi", kind="linux", ssh="me@pi"), DeviceFacts(software={"a": "1"})
            ),
        ),
        ReportInputs.of(artifact.path.parent, 1.0),
        ShardInputs.of(artifact, images, environment()),
        TimingInputs.of([artifact], BenchOptions(), "cpu", environment()),
    ]
    return {type(record): record for record in inputs}


def changes(value: object) -> Iterator[tuple[str, Any]]:
    """The value with one thing changed, in every way down to its leaves, and what was changed."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            for path, changed in changes(getattr(value, name)):
                yield f".{name}{path}", value.model_copy(update={name: changed})
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            for path, changed in changes(getattr(value, field.name)):
                yield (
                    f".{field.name}{path}",
                    dataclasses.replace(value, **{field.name: changed}),
                )
    elif isinstance(value, Mapping):
        yield "+", {**value, "more": "more"}
        for name, item in value.items():
            yield f"-{name}", {k: v for k, v in value.items() if k != name}
            for path, changed in changes(item):
                yield f"[{name}]{path}", {**value, name: changed}
    elif isinstance(value, tuple):
        yield "+", (*value, "more")
        for i, item in enumerate(value[:2]):
            for path, changed in changes(item):
                yield f"[{i}]{path}", (*value[:i], changed, *value[i + 1 :])
    elif isinstance(value, bool):
        yield "", not value
    elif isinstance(value, int):
        yield "", value + 1
    elif isinstance(value, float):
        yield "", value * (1 + 2**-40) + 2**-40
    elif isinstance(value, str):
        yield "", f"{value}x"
    else:
        assert value is None, value
        yield "", "something"


def test_every_change_of_a_record_changes_its_key(records: dict[type[Inputs], Inputs]) -> None:
    seen: dict[str, str] = {}
    for record in records.values():
        seen[key(record)] = type(record).__name__
        with warnings.catch_warnings():  # of values of other types than the field's
            warnings.simplefilter("ignore")
            for path, changed in changes(record):
                name = f"{type(record).__name__}{path}"
                assert seen.setdefault(key(changed), name) == name
    paths = set(seen.values())
    for path in (
        "EvaluateInputs.subjects[0].eval.mean[0]",
        "EvaluateInputs.subjects[0].sha256",
        "EvaluateInputs.subjects[1].labels",
        "EvaluateInputs.images.info.sha256",
        "EvaluateInputs.versions[onnxruntime]",
        "EvaluateInputs.versions[edgenext]",
        "EvaluateInputs.machine.isa[0]",
        "SequenceInputs.seed",
        "SequenceInputs.evaluation.images.info.sha256",
        "SequenceInputs.evaluation.subjects[0].sha256",
        "DecisionInputs.budget",
        "DecisionInputs.sequence.seed",
        "QuantizeInputs.settings.export.batch",
        "QuantizeInputs.settings.export.pixels",
        "QuantizeInputs.settings.export.opset",
        "QuantizeInputs.settings.export.options[jetpack]",
        "QuantizeInputs.settings.recipe.weights.rounding",
        "QuantizeInputs.subject.eval.std[1]",
        "ExportInputs.versions[tensorflow.lock]",
        "BenchmarkInputs.options.threads",
        "ShardInputs.base",
        "ShardInputs.hashes[0]",
        "ShardInputs.machine.isa[0]",
        "TimingInputs.device",
        "TimingInputs.machine.cpu",
        "TrainInputs.recipe.lr",
        "ReportInputs.files[run.json]",
        "ReportInputs.budget",
    ):
        assert path in paths, path


def test_nothing_is_left_out_of_a_record(records: dict[type[Inputs], Inputs]) -> None:
    kinds = {kind for kind in Inputs.__subclasses__() if kind.__module__.startswith("edgenext.")}
    assert kinds == records.keys()
    for kind in (*records, NetworkFacts):
        assert all(field.is_required() for field in kind.model_fields.values()), kind
    fields = {field.name for field in dataclasses.fields(Checkpoint)}
    assert NetworkFacts.model_fields.keys() == fields - {"state"}


def test_a_conversion_that_took_longer_is_the_same(
    records: dict[type[Inputs], Inputs], tmp_path: Path
) -> None:
    from edgenext.schema import Conversion

    artifact = tiny_artifact(tmp_path)
    keys = set()
    for seconds, partitions in ((1.0, 1), (2.0, 1), (1.0, 2)):
        conversion = Conversion(
            converter="c", seconds=seconds, peak_mb=seconds, partitions=partitions
        )
        manifest = artifact.manifest.model_copy(update={"conversion": conversion})
        changed = dataclasses.replace(artifact, manifest=manifest)
        keys.add(key(BenchmarkInputs.of([changed], BenchOptions())))
    assert len(keys) == 2


def test_normalisation_does_not_decode_images_again() -> None:
    def decoded(**changes: object) -> str:
        return key(DecodeInputs.of(["a"], EvalTransform(size=32, **changes)))

    assert decoded() == decoded(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert len({decoded(), decoded(crop_pct=1.0), decoded(interpolation="bilinear")}) == 3


def test_versions_are_those_of_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = versions.all_versions()
    required = importlib.metadata.requires("edgenext") or []
    names = {re.split(r"[^\w.-]", line)[0].lower() for line in required if "dev" not in line}
    installed = {name for name in names if versions.versions_of(name)} - versions.NEUTRAL
    assert installed | {"edgenext"} == {n for n in before if not n.endswith(".lock")}
    for name in ("edgenext", "numpy", "onnx", "onnxruntime", "torch"):
        assert versions.versions()[name] == importlib.metadata.version(name)
    assert "openvino" in versions.versions("nncf").keys() - versions.versions().keys()
    assert "tflite.lock" in versions.versions("tflite")

    folder = tmp_path / "onnxruntime-99.0.dist-info"  # as after an upgrade
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime\nVersion: 99.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert versions.all_versions() == before | {"onnxruntime": "99.0"}
