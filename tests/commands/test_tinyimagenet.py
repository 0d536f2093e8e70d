"""The promise on real images: 5,000 of Tiny-ImageNet, with weights trained on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenext import api
from edgenext.errors import OverlapError
from edgenext.formats.artifact import Artifact
from edgenext.options import ModelOptions, QuantizeOptions
from edgenext.schema import CompareReport

pytestmark = [pytest.mark.slow, pytest.mark.shared]

MODEL = "edgenext_xx_small"


@pytest.fixture(scope="module")
def weights(shared: Path) -> Path:
    return shared / "weights" / "edgenext_xx_small_tinyimagenet.safetensors"


@pytest.fixture(scope="module")
def how(shared: Path) -> QuantizeOptions:
    return QuantizeOptions(calib=shared / "data" / "tiny-imagenet-train.zip")


@pytest.fixture(scope="module")
def int8(weights: Path, how: QuantizeOptions, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return api.quantize(MODEL, how, ModelOptions(weights), out=tmp_path_factory.mktemp("int8"))


@pytest.fixture(scope="module")
def compared(
    shared: Path, weights: Path, int8: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> CompareReport:
    """The plain export against PyTorch, the folded export and INT8."""
    folder, options = tmp_path_factory.mktemp("fp32"), ModelOptions(weights)
    val = str(shared / "data" / "tiny-imagenet-val.zip")
    plain = api.export(MODEL, options, api.ExportOptions(form="naive"), out=folder, data=val)
    folded = api.export(MODEL, options, out=folder, data=val)
    return api.compare(str(plain.path), [MODEL, str(folded.path), str(int8.path)], val, options)


def test_fp32_is_pytorchs_to_the_image(compared: CompareReport) -> None:
    assert compared.n == 5000 and compared.base.top1 == pytest.approx(30.94)
    for exact in compared.others[:2]:
        assert exact.drop.lost == exact.drop.gained == 0
        assert exact.agreement == 100 and exact.sqnr_db > 120


def test_int8_loses_little(compared: CompareReport) -> None:
    quantized = compared.others[2]
    assert abs(quantized.drop.points) < 0.5
    assert quantized.drop.ci95[0] < 0 < quantized.drop.ci95[1]
    assert quantized.sqnr_db > 28 and quantized.agreement > 94


@pytest.mark.parametrize("seed", range(3))
def test_a_stressed_twin_loses_no_more(
    weights: Path, how: QuantizeOptions, int8: Artifact, seed: int, tmp_path: Path
) -> None:
    twin = tmp_path / "twin.safetensors"
    api.stress(MODEL, twin, ModelOptions(weights), seed=seed, strength=3)
    made = api.quantize(MODEL, how, ModelOptions(twin), out=tmp_path)
    assert made.manifest.sha256 == int8.manifest.sha256  # the very same file


def test_calibration_images_cannot_be_scored(how: QuantizeOptions, int8: Artifact) -> None:
    with pytest.raises(OverlapError, match="128 of the 5000"):
        api.evaluate([str(int8.path)], str(how.calib))
