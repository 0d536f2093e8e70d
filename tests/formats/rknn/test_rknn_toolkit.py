"""Rockchip's toolkit: files of both schemes, run in its simulator; the same bytes; placement."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conversions import SharedConversions
from private import private_python

from edgenext import api
from edgenext.errors import RuntimeFailedError, UsageError
from edgenext.formats.artifact import Artifact, manifest_path, open_artifact
from edgenext.formats.rknn.package import package_path
from edgenext.formats.rknn.session import OTHER_BYTES, open_session
from edgenext.options import DataOptions, ExportOptions, ModelOptions, QuantizeOptions

pytestmark = pytest.mark.campaign  # the environment has 1.5 GB

OPTIONS = ModelOptions(random_weights=True, num_classes=10, size=64)
XXS = "edgenext_xx_small"
RKNN = ExportOptions(format="rknn")


@pytest.fixture(scope="module")
def convert(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Artifact]:
    """Makes a file of a scheme, once."""
    private_python("rknn")
    files: dict[str, Artifact] = {}

    def file_of(scheme: str) -> Artifact:
        if scheme not in files:
            calib = "" if scheme == "fp16" else "digits"
            options = QuantizeOptions(scheme, "rknn", calib=calib, n=16)
            folder = tmp_path_factory.mktemp(scheme)
            files[scheme] = api.quantize(XXS, options, OPTIONS, RKNN, out=folder)
        return files[scheme]

    return file_of


@pytest.mark.parametrize(("scheme", "least_db"), [("fp16", 50), ("w8a8-static", 22)])
def test_the_manifest(convert: Callable[..., Artifact], scheme: str, least_db: float) -> None:
    file = convert(scheme)
    m = open_artifact(file.path).manifest
    assert file.path.name == f"{XXS}-64-{scheme}.rknn"
    assert (m.format, m.target, m.scheme, m.form) == ("rknn", "rknn", scheme, "convT")
    assert m.options is not None and m.options.opset == 17
    assert m.parity is not None and m.parity.sqnr_db > least_db  # 62.3 and 29.9 measured
    assert m.conversion is not None and m.conversion.converter == "rknn-toolkit2 2.5.0"
    assert m.conversion.operators["ConvExGelu"] == 12  # on the NPU, not an Erf on the CPU
    assert set(m.files) == {file.path.name, package_path(file.path).name}


@pytest.mark.parametrize("scheme", ["fp16", "w8a8-static"])
def test_the_simulator_builds_the_very_file(convert: Callable[..., Artifact], scheme: str) -> None:
    file = convert(scheme)
    session = open_session(file, 1)
    assert session.evidence == "simulator"
    assert session.fallback in ("", OTHER_BYTES)  # a few unused bytes differ in some runs
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    first, again = (session.infer(session.prepare(images)) for _ in range(2))
    assert first.shape == (1, 10) and np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)


def test_the_same_command_gives_the_same_file_but_for_unused_bytes(
    convert: Callable[..., Artifact], tmp_path: Path, conversions: SharedConversions
) -> None:
    with conversions.fresh():
        other = api.quantize(XXS, QuantizeOptions("fp16", "rknn"), OPTIONS, RKNN, out=tmp_path)
    first, second = (
        np.frombuffer(file.path.read_bytes(), np.uint8) for file in (convert("fp16"), other)
    )
    assert len(first) == len(second)
    assert np.count_nonzero(first != second) < 200  # 0 or 72 measured


def test_what_the_npu_leaves_to_the_cpu(convert: Callable[..., Artifact]) -> None:
    report = api.check(convert("fp16").path)
    assert report.accepted and report.delegated is False and not report.passed
    units = {p.unit: p.operators for p in report.placements}
    assert units["npu"]["ConvExGelu"] == 12 and "Erf" not in units["cpu"]
    assert {r.operator for r in report.refusals} == set(units["cpu"])
    assert report.version == "2.5.0" and report.evidence == "compiler"
    other = api.check(convert("fp16").path, platform="rk3566")
    assert "asked for rk3566" in other.notes[0]
    assert sum(r.count for r in other.refusals) > sum(r.count for r in report.refusals)
    with pytest.raises(UsageError, match="unknown platform"):
        api.check(convert("fp16").path, platform="rk9999")


def test_accuracy_is_of_a_simulator(convert: Callable[..., Artifact]) -> None:
    report = api.evaluate([convert("fp16").path], DataOptions("digits", limit=4))
    assert [result.evidence for result in report.results] == ["simulator"]


def test_another_platform_is_another_file(convert: Callable[..., Artifact], tmp_path: Path) -> None:
    options = replace(RKNN, format_options={"platform": "RK3576"})
    other = api.quantize(XXS, QuantizeOptions("fp16", "rknn"), OPTIONS, options, out=tmp_path)
    assert other.path.name == f"{XXS}-64-rk3576-fp16.rknn"
    assert other.manifest.sha256 != convert("fp16").manifest.sha256


def test_a_backbone(convert: Callable[..., Artifact], tmp_path: Path) -> None:
    del convert  # which skips without the toolkit
    export = replace(RKNN, features_only=True)
    file = api.quantize(XXS, QuantizeOptions("fp16", "rknn"), OPTIONS, export, out=tmp_path)
    parity = open_artifact(file.path).manifest.parity
    assert parity is not None and len(parity.stages) == 4
    assert min(parity.stages.values()) > 54  # 59.4 to 65.7 measured


def test_a_graph_of_a_newer_opset_is_refused(tmp_path: Path) -> None:
    private_python("rknn")
    graph = api.export(XXS, OPTIONS, out=tmp_path)
    with pytest.raises(UsageError, match="rknn-toolkit2 takes opset 17, not 20"):
        api.quantize(str(graph.path), QuantizeOptions("fp16", "rknn"), OPTIONS, RKNN, out=tmp_path)


def test_a_zip_that_is_no_graph_is_an_error(
    convert: Callable[..., Artifact], tmp_path: Path
) -> None:
    file = convert("fp16")
    path = tmp_path / file.path.name
    for source in file.files:
        shutil.copy(source, tmp_path / source.name)
    assert manifest_path(path).is_file()
    content = bytearray(package_path(path).read_bytes())
    content[len(content) // 2] ^= 255
    package_path(path).write_bytes(content)
    with pytest.raises(RuntimeFailedError, match="Bad CRC-32"):
        open_session(replace(file, path=path), 1)
