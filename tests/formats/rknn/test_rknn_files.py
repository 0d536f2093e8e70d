"""Refusals, the zip beside a file, and a process with fixed addresses: without the toolkit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import edgenext
from edgenext import api
from edgenext.errors import MissingDependencyError, RuntimeFailedError, UsageError
from edgenext.formats.rknn.package import package_path, read_record, unpack, write_package
from edgenext.formats.rknn.session import inspect
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions

OPTIONS = ModelOptions(random_weights=True, num_classes=10, size=32)
XXS = "edgenext_xx_small"
RKNN = ExportOptions(format="rknn")
FP16 = QuantizeOptions("fp16", "rknn")
RECORD = {
    "platform": "rk3588",
    "input": {"name": "input", "shape": [1, 3, 32, 32], "dtype": "float32"},
    "outputs": [{"name": "logits", "shape": [1, 10], "dtype": "float32"}],
    "layers": [["Conv", "FLOAT16", "npu", "/conv"], ["Div", "FLOAT", "cpu", "/div"]],
}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"uint8_input": True}, "takes normalised floats"),
        ({"batch": 2}, "takes one image a call, not 2"),
        ({"batch": None}, "takes a fixed batch"),
        ({"opset": 18}, "rknn has no opset"),
        ({"format_options": {"platform": "rk3577"}}, r"unknown platform 'rk3577'. Did you mean"),
        ({"format_options": {"soc": "SM8650"}}, "option of rknn"),
    ],
)
def test_what_is_refused(tmp_path: Path, options: dict, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        api.quantize(XXS, FP16, OPTIONS, replace(RKNN, **options), out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_fp32_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the NPU computes floats in float16"):
        api.export(XXS, OPTIONS, RKNN, out=tmp_path)
    with pytest.raises(UsageError, match="rknn cannot run w8a8-dynamic: the NPU supports fixed"):
        api.quantize(XXS, replace(FP16, scheme="w8a8-dynamic"), OPTIONS, RKNN, out=tmp_path)


def test_a_missing_environment_is_reported_before_the_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGENEXT_ENVIRONMENTS", str(tmp_path / "none"))
    with pytest.raises(MissingDependencyError) as error:
        api.quantize(XXS, FP16, OPTIONS, RKNN, out=tmp_path)
    assert "edgenext env rknn" in error.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The path of an .rknn file that has only its zip."""
    (tmp_path / "graph.onnx").write_bytes(b"a graph")
    write_package(tmp_path / "it.rknn", tmp_path, RECORD)
    return tmp_path / "it.rknn"


def test_the_zip_is_the_same_bytes_and_has_all(file: Path, tmp_path: Path) -> None:
    content = package_path(file).read_bytes()
    write_package(file, tmp_path, RECORD)
    assert package_path(file).read_bytes() == content
    assert inspect(file).operators == {"Conv": 1, "Div": 1}
    folder = tmp_path / "copy"
    folder.mkdir()
    unpack(file, folder)
    assert {p.name for p in folder.iterdir()} == {"graph.onnx", "build.json"}
    assert (folder / "graph.onnx").read_bytes() == b"a graph"


def rewrite(file: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(package_path(file), "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_a_damaged_zip_is_an_error(file: Path, tmp_path: Path) -> None:
    content = package_path(file).read_bytes()
    for damaged in (b"", content[:-40], content[:60] + b"\x00" * 40 + content[100:]):
        package_path(file).write_bytes(damaged)
        with pytest.raises(RuntimeFailedError, match="is not what Rockchip's simulator needs"):
            read_record(file)
    package_path(file).unlink()
    with pytest.raises(RuntimeFailedError, match="is not what Rockchip's"):
        unpack(file, tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/outside", "sub/graph.onnx", "edgenext"])
def test_no_member_leaves_the_folder(file: Path, tmp_path: Path, name: str) -> None:
    rewrite(file, {name: b"x"})
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(RuntimeFailedError, match="does not belong in it"):
        unpack(file, folder)
    assert not list(folder.iterdir())


def test_what_is_compressed_or_is_no_json_is_refused(file: Path, tmp_path: Path) -> None:
    rewrite(file, {"graph.onnx": b"0" * 10_000}, zipfile.ZIP_DEFLATED)
    with pytest.raises(RuntimeFailedError, match="does not belong in it"):
        unpack(file, tmp_path)
    rewrite(file, {"graph.quantization.cfg": b"!!python/object/apply:os.system ['true']"})
    with pytest.raises(RuntimeFailedError, match="is not what Rockchip's simulator needs"):
        unpack(file, tmp_path)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {**RECORD, "layers": [[]]},
        {**RECORD, "layers": 1},
        {**RECORD, "input": {"name": 1}},
        {**RECORD, "outputs": [3]},
    ],
)
def test_a_damaged_record_is_an_error(file: Path, record: dict) -> None:
    rewrite(file, {"build.json": json.dumps(record).encode()})
    with pytest.raises(RuntimeFailedError):
        inspect(file)


PROBE = """
import ctypes
from edgenext.formats.rknn.fixed_addresses import addresses_are_fixed, restart
restart("probe")
import numpy as np
buffers = [np.empty(100_000, np.uint8) for _ in range(8)]
print(addresses_are_fixed(), [b.ctypes.data for b in buffers], sum(int(b.sum()) for b in buffers))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's flag is Linux's")
def test_a_process_with_fixed_addresses(tmp_path: Path) -> None:
    outputs = []
    for name in ("a", "a-folder-with-a-longer-name"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "probe.py").write_text(PROBE)
        package = Path(edgenext.__file__).parents[1]
        variables = os.environ | {"PYTHONPATH": str(package), "NOISE": "x" * len(name) * 50}
        done = subprocess.run(
            [sys.executable, "probe.py"],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.append(done.stdout)
    if outputs[0].startswith("False"):
        pytest.skip("the kernel does not allow fixed addresses here")
    assert outputs[0] == outputs[1]
    assert outputs[0].endswith(" 0\n")  # memory that is not written is zero
