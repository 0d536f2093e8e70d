from __future__ import annotations

import pytest

from edgenext.errors import UsageError
from edgenext.formats import RUNTIMES
from edgenext.formats.format import FORMATS, file_name, require_format, require_scheme, resolved
from edgenext.formats.tensorrt.jetpack import JETPACKS
from edgenext.options import ExportOptions
from edgenext.targets.target import FORMS, TARGETS


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_target_and_a_runtime(name: str) -> None:
    kind = FORMATS[name]
    assert kind.target in TARGETS
    assert (name, "*") in RUNTIMES
    assert bool(kind.converter) == bool(kind.runtime) == bool(kind.needs)


def test_targets_name_formats_that_are_there() -> None:
    assert {target.format for target in TARGETS.values()} <= set(FORMATS)


def test_what_is_left_open_follows_from_the_format() -> None:
    assert resolved(ExportOptions()).target == "cpu-onnxruntime"
    assert resolved(ExportOptions()).form == "convT"
    assert resolved(ExportOptions(format="openvino")).form == "convC"
    assert resolved(ExportOptions(target="cpu-openvino")).form == "convC"
    assert resolved(ExportOptions(form="naive")).form == "naive"


def test_an_image_input_takes_pixels() -> None:
    assert resolved(ExportOptions(format="coreml", format_options={"image": True})).uint8_input


@pytest.mark.parametrize("generation", JETPACKS)
def test_generations_of_jetpack(generation: str) -> None:
    jetpack = JETPACKS[generation]
    how = resolved(ExportOptions(format="tensorrt", format_options={"jetpack": generation}))
    assert (how.opset, how.form) == (jetpack.opset, jetpack.form)
    assert jetpack.form in FORMS and jetpack.why and jetpack.tensorrt
    lower = ExportOptions(format="tensorrt", format_options={"jetpack": generation}, opset=13)
    assert resolved(lower).opset == 13


def test_a_release_of_jetpack_is_of_its_generation() -> None:
    how = resolved(ExportOptions(format="tensorrt", format_options={"jetpack": "5.1"}))
    assert how.told == {"jetpack": "5"} and how.opset == JETPACKS["5"].opset


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (ExportOptions(format="tflit"), "Did you mean tflite"),
        (ExportOptions(format="tflite", batch=None), "fixed batch"),
        (ExportOptions(format="coreml", features_only=True), "backbone"),
        (ExportOptions(format="tflite", target="jetson"), "is for tflite"),
        (ExportOptions(format="tflite", format_options={"ios": "16"}), "option of tflite"),
        (ExportOptions(format="tflite", format_options={"converter": "tensorflo"}), "tensorflow"),
        (
            ExportOptions(format="tensorrt", format_options={"jetpack": "7"}),
            "JetPack generation '7'",
        ),
        (ExportOptions(format="tensorrt", opset=20), "takes opset 17 at most, not 20"),
        (ExportOptions(format="tflite", opset=13), "tflite has no opset"),
    ],
)
def test_what_a_format_cannot_have(how: ExportOptions, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        resolved(how)


def test_a_target_of_its_own_has_a_converter_of_its_own() -> None:
    how = resolved(ExportOptions(format="tflite", target="ethos-u"))
    assert (how.target, how.form) == ("ethos-u", "convT")
    kind = require_format("tflite").made_by(how.told, how.target)
    assert (kind.converter, kind.runtime, kind.samples) == ("ethos_u", "tflite", True)
    assert require_format("tflite").made_by({}, "tflite").converter == "tflite"
    assert file_name("it", "w8a8-static", how, "edgenext") == "it-ethos-u-w8a8-static.tflite"


@pytest.mark.parametrize("option", [{"integer_io": True}, {"converter": "tensorflow"}])
def test_options_that_a_target_leaves_no_choice_of(option: dict[str, str | bool]) -> None:
    with pytest.raises(UsageError, match="option of tflite for ethos-u"):
        resolved(ExportOptions(format="tflite", target="ethos-u", format_options=option))


@pytest.mark.parametrize(
    ("scheme", "why"), [("fp32", "no float arithmetic"), ("w8a16-static", "no 16-bit GELU")]
)
def test_schemes_that_a_format_has_not_for_a_target(scheme: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"tflite for ethos-u cannot be {scheme}: .*{why}"):
        require_scheme("tflite", scheme, "ethos-u")
    require_scheme("tflite", scheme)
    require_scheme("onnx", scheme, "ethos-u")


def test_engines_have_converters_of_their_own() -> None:
    tflite = require_format("tflite")
    other = tflite.made_by({"converter": "tensorflow"})
    assert (tflite.converter, other.converter) == ("tflite", "tensorflow")
    assert other.runtime == tflite.runtime
    assert "w8a8-static" in other.converts and "w8a8-static" not in tflite.converts
