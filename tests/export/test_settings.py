"""Export options: what follows from them, and which of them a format refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgenext.errors import UsageError
from edgenext.export.settings import own_format, resolve
from edgenext.formats.format import ROWS
from edgenext.formats.tensorrt.jetpack import JETPACKS
from edgenext.options import ExportOptions
from edgenext.targets.target import FORMS


def test_defaults_follow_from_the_format() -> None:
    assert resolve(ExportOptions()).target == "cpu-onnxruntime"
    assert resolve(ExportOptions()).form == "convT"
    assert resolve(ExportOptions(format="openvino")).form == "convC"
    assert resolve(ExportOptions(target="cpu-openvino")).form == "convC"
    assert resolve(ExportOptions(form="naive")).form == "naive"


def test_an_image_input_takes_pixels() -> None:
    options = ExportOptions(format="coreml", format_options={"image": True})
    assert resolve(options).pixels
    assert not resolve(ExportOptions(format="coreml")).pixels


@pytest.mark.parametrize("generation", JETPACKS)
def test_a_jetpack_generation_decides_form_and_opset(generation: str) -> None:
    jetpack = JETPACKS[generation]
    options = {"jetpack": generation}
    settings = resolve(ExportOptions(format="tensorrt", format_options=options))
    assert (settings.opset, settings.form) == (jetpack.opset, jetpack.form)
    assert jetpack.form in FORMS and jetpack.why and jetpack.tensorrt
    lower = ExportOptions(format="tensorrt", format_options=options, opset=13)
    assert resolve(lower).opset == 13


def test_a_jetpack_release_belongs_to_its_generation() -> None:
    options = ExportOptions(format="tensorrt", format_options={"jetpack": "5.1"})
    settings = resolve(options)
    assert settings.options == {"jetpack": "5"} and settings.opset == JETPACKS["5"].opset


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ExportOptions(format="tflit"), "Did you mean tflite"),
        (ExportOptions(format="tflite", batch=None), "fixed batch"),
        (ExportOptions(format="coreml", features_only=True), "does not support backbones"),
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
def test_unsupported_options_are_refused(options: ExportOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(options)


@pytest.mark.parametrize("option", [{"integer_io": True}, {"converter": "tensorflow"}])
def test_a_variant_has_none_of_its_formats_options(option: dict[str, str | bool]) -> None:
    with pytest.raises(UsageError, match="option of tflite for ethos-u"):
        resolve(ExportOptions(format="tflite", target="ethos-u", format_options=option))


def test_a_float_file_has_no_integer_inputs() -> None:
    options = ExportOptions(format="tflite", format_options={"integer_io": True})
    with pytest.raises(UsageError, match="a float file has no integer inputs"):
        resolve(options)
    assert resolve(options, "w8a8-static", "edgenext").integer_io


def test_file_names_have_what_is_not_the_default() -> None:
    variant = resolve(ExportOptions(format="tflite", target="ethos-u"), "w8a8-static", "edgenext")
    assert (variant.target, variant.form) == ("ethos-u", "convT")
    assert variant.file_name("it") == "it-ethos-u-w8a8-static.tflite"
    assert resolve(ExportOptions(form="naive")).file_name("it") == "it-fp32-plain.onnx"
    baseline = resolve(ExportOptions(), "w8a8-static", "onnxruntime")
    assert baseline.file_name("it") == "it-w8a8-static-onnxruntime.onnx"


VARIANTS = [
    ExportOptions(batch=None),
    ExportOptions(batch=2),
    ExportOptions(uint8_input=True),
    ExportOptions(opset=17),
    ExportOptions(form="convC"),
    ExportOptions(form="naive"),
    ExportOptions(features_only=True),
    ExportOptions(target="htp"),
]
OWN_OPTIONS: dict[str, dict[str, str | bool]] = {
    "ios": {"ios": "17"},
    "image": {"image": True},
    "backend": {"backend": "coreml"},
    "soc": {"soc": "SM8750"},
    "integer_io": {"integer_io": True},
    "converter": {"converter": "tensorflow"},
    "jetpack": {"jetpack": "5"},
}


def test_every_option_has_a_file_name_of_its_own() -> None:
    plain = resolve(ExportOptions()).file_name("it")
    assert plain == resolve(ExportOptions(opset=20, batch=1, form="convT")).file_name("it")
    names = {resolve(options).file_name("it") for options in VARIANTS}
    assert len({plain, *names}) == len(VARIANTS) + 1
    together = replace(VARIANTS[0], uint8_input=True, opset=17)
    assert resolve(together).file_name("it") == "it-batch-dynamic-uint8-opset17-fp32.onnx"
    rows = [(row.name, option) for row in ROWS for option in row.options]
    assert {option for _, option in rows} == OWN_OPTIONS.keys()
    for name, option in rows:
        changed = ExportOptions(format=name, format_options=OWN_OPTIONS[option])
        pixels = ExportOptions(format=name, uint8_input=True)
        files = [
            resolve(options, "w8a8-static", "edgenext").file_name("it")
            for options in (ExportOptions(format=name), changed, pixels)
        ]
        assert len(set(files)) == 3, files


def test_an_opset_is_told_where_it_is_not_the_recipes() -> None:
    for opset, name in ((20, "it-opset20-w8a16-static.onnx"), (21, "it-w8a16-static.onnx")):
        chosen = ExportOptions(target="jetson", opset=opset)
        settings = resolve(chosen, "w8a16-static", "edgenext", default_opset=21)
        assert settings.file_name("it").replace("jetson-", "") == name


def test_a_target_whose_format_refuses_a_scheme_gets_onnx() -> None:
    assert own_format("ethos-u", "w8a8-static") == "tflite"
    assert own_format("ethos-u", "w8a16-static") == "onnx"
