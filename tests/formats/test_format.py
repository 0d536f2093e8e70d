"""The rows of the formats, and what is derived from them."""

from __future__ import annotations

from importlib import import_module

import pytest

from edgenext.errors import ArtifactError, UsageError
from edgenext.formats.format import (
    FORMATS,
    PACKAGE,
    ROWS,
    Format,
    command_options,
    function_of,
    require_format,
    require_scheme,
)
from edgenext.formats.runtimes import runtime_of
from edgenext.schema import Manifest
from edgenext.targets.scheme import SCHEMES
from edgenext.targets.target import TARGETS


def manifest(file_format: str, target: str) -> Manifest:
    return Manifest.model_construct(file="it", format=file_format, target=target)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_target_and_a_runtime(name: str) -> None:
    row = FORMATS[name]
    assert row.target in TARGETS
    runtime = runtime_of(manifest(name, row.target))
    assert callable(runtime.open_session) and callable(runtime.preload)
    assert bool(row.converter) == hasattr(runtime, "inspect")  # what is converted is read back


def test_targets_name_formats_that_exist() -> None:
    assert {target.format for target in TARGETS.values()} <= set(FORMATS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.folder)
def test_a_row_names_modules_functions_and_schemes_that_exist(row: Format) -> None:
    converters = [c for c in (row.converter, *row.converters.values()) if c]
    for converter in converters:
        assert converter.needs and set(converter.converts) <= set(SCHEMES)
        assert callable(import_module(f"{PACKAGE}.{row.folder}.{converter.module}").convert)
    named = [row.resolve, row.rewrite, row.finish, *(c.arguments for c in converters)]
    assert all(callable(function_of(name)) for name in named if name)


def test_a_variant_has_a_converter_of_its_own() -> None:
    tflite, variant = require_format("tflite"), require_format("tflite", "ethos-u")
    assert (tflite.folder, variant.folder) == ("tflite", "ethos_u")
    assert variant.converter is not None and variant.converter.samples
    assert tflite.converter is not None and not tflite.converter.samples
    assert (variant.name, variant.ending, variant.session) == ("tflite", ".tflite", "tflite")


@pytest.mark.parametrize(
    ("scheme", "reason"), [("fp32", "no float arithmetic"), ("w8a16-static", "no 16-bit GELU")]
)
def test_a_variant_refuses_schemes_of_its_own(scheme: str, reason: str) -> None:
    with pytest.raises(
        UsageError, match=f"tflite for ethos-u does not support {scheme}: .*{reason}"
    ):
        require_scheme("tflite", scheme, "ethos-u")
    require_scheme("tflite", scheme)
    require_scheme("onnx", scheme, "ethos-u")


def test_a_format_may_have_a_second_converter() -> None:
    row = require_format("tflite")
    default, other = row.converter_for({}), row.converter_for({"converter": "tensorflow"})
    assert default == row.converter_for({"converter": "litert"}) == row.converter
    assert default is not None and other is not None
    assert (default.module, other.module) == ("convert", "tensorflow")
    assert "w8a8-static" in other.converts and "w8a8-static" not in default.converts
    with pytest.raises(UsageError, match="Did you mean tensorflow"):
        row.converter_for({"converter": "tensorflo"})


def test_the_target_of_a_file_decides_its_runtime() -> None:
    modules = {
        target: runtime_of(manifest("onnx", target)).__name__.split(".")[-2]
        for target in ("cpu-onnxruntime", "cpu-openvino", "htp", "jetson")
    }
    # the simulated NPU is used only where it is asked for
    assert modules == {
        "cpu-onnxruntime": "onnx",
        "cpu-openvino": "openvino",
        "htp": "onnx",
        "jetson": "onnx",
    }
    assert "qnn" in runtime_of(manifest("onnx", "htp"), target="htp").__name__
    with pytest.raises(ArtifactError, match="no runtime for format 'tarot'"):
        runtime_of(manifest("tarot", "jetson"))


def test_commands_get_the_options_of_every_format() -> None:
    assert {"jetpack", "ios", "soc", "converter", "backend"} <= set(command_options("export"))
    title, option = command_options("export")["converter"]
    assert (title, option.old_flag) == ("TFLite", "--engine")
    assert {"soc", "jetpack", "config", "out", "platform"} == set(command_options("check"))
