"""Export options: what follows from them, and which of them a format refuses."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import pytest

from edgenext.commands.quantize import resolve_quantization
from edgenext.errors import UsageError
from edgenext.export.settings import own_format, resolve
from edgenext.formats.executorch import options as executorch
from edgenext.formats.format import FORMATS, ROWS
from edgenext.formats.tensorrt.jetpack import JETPACKS
from edgenext.options import ExportOptions, QuantizeOptions
from edgenext.targets.scheme import FLOAT, SCHEMES
from edgenext.targets.target import FORMS, schemes


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
        (
            ExportOptions(format="tflite", target="ethos-u", features_only=True),
            "tflite for ethos-u has no backbones: its writer of integer files knows one output",
        ),
        (ExportOptions(format="tflite", target="jetson"), "is for tflite"),
        (ExportOptions(format="tflite", format_options={"ios": "16"}), "option of tflite"),
        (ExportOptions(format="tflite", format_options={"converter": "tensorflo"}), "tensorflow"),
        (
            ExportOptions(format="tensorrt", format_options={"jetpack": "7"}),
            "JetPack generation '7'",
        ),
        (ExportOptions(format="tensorrt", opset=20), "takes opset 17 at most, not 20"),
        (ExportOptions(format="tflite", opset=13), "tflite has no opset"),
        (ExportOptions(format="coreml", format_options={"ios": "14"}), "unsupported iOS 14. Use"),
        (ExportOptions(format="coreml", format_options={"ios": "17.2"}), "unsupported iOS 17.2"),
        (ExportOptions(format="coreml", uint8_input=True), "as an image only. Use --image-input"),
        (
            ExportOptions(format="coreml", batch=2, format_options={"image": True}),
            "Core ML takes one image a call, not 2",
        ),
        (
            ExportOptions(format="executorch", format_options={"backend": "xnpack"}),
            "Did you mean xnnpack",
        ),
    ],
)
def test_unsupported_options_are_refused(options: ExportOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(options)


def test_a_backend_of_another_system_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executorch, "sys", SimpleNamespace(platform="linux"))
    with pytest.raises(UsageError, match="has no CoreMLBackend on this machine"):
        resolve(ExportOptions(format="executorch", format_options={"backend": "coreml"}))


@pytest.mark.parametrize(("name", "scheme"), [*product(FORMATS, (FLOAT, *SCHEMES))])
def test_every_format_takes_or_refuses_a_scheme_and_an_input_at_once(
    name: str, scheme: str
) -> None:
    inputs = [{}, {"uint8_input": True}, {"batch": 4}]
    inputs += [{"format_options": {o: True}} for o in ("image", "integer_io")]
    taken = 0
    for options in inputs:
        export = ExportOptions(format=name, **options)
        try:
            if scheme == FLOAT:
                settings = resolve(export)
            else:
                quantizing = QuantizeOptions(scheme, FORMATS[name].target, calib="digits")
                settings = resolve_quantization(quantizing, export).export
        except UsageError as e:
            assert e.remedy or ":" in e.message, e
            continue
        assert settings.scheme == scheme
        taken += 1
    assert bool(taken) == (scheme == FLOAT or scheme in schemes(FORMATS[name].target)) or (
        scheme in FORMATS[name].refuses
    )


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
    "platform": {"platform": "rk3576"},
}


def test_every_option_has_a_file_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # a file for Core ML's backend can be made there only
    monkeypatch.setattr(executorch, "sys", SimpleNamespace(platform="darwin"))
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
        pixels = (
            [ExportOptions(format=name, uint8_input=True)] if name not in ("coreml", "rknn") else []
        )
        chosen = [ExportOptions(format=name), changed, *pixels]
        files = {resolve(o, "w8a8-static", "edgenext").file_name("it") for o in chosen}
        assert len(files) == len(chosen), files


def test_an_opset_is_told_where_it_is_not_the_recipes() -> None:
    for opset, name in ((20, "it-opset20-w8a16-static.onnx"), (21, "it-w8a16-static.onnx")):
        chosen = ExportOptions(target="jetson", opset=opset)
        settings = resolve(chosen, "w8a16-static", "edgenext", default_opset=21)
        assert settings.file_name("it").replace("jetson-", "") == name


def test_a_target_whose_format_refuses_a_scheme_gets_onnx() -> None:
    assert own_format("ethos-u", "w8a8-static") == "tflite"
    assert own_format("ethos-u", "w8a16-static") == "onnx"
