"""The promise on real images: 5,000 of Tiny-ImageNet, with weights trained on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenext import api
from edgenext.errors import OverlapError
from edgenext.schema import CompareReport

pytestmark = [pytest.mark.slow, pytest.mark.shared]

MODEL = "edgenext_xx_small"


@pytest.fixture(scope="module")
def compared(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> CompareReport:
    """The plain export against PyTorch, the folded export, INT8, and INT8 of stressed twins."""
    folder = tmp_path_factory.mktemp("tiny")
    weights = shared / "weights" / "edgenext_xx_small_tinyimagenet.safetensors"
    options = api.ModelOptions(weights)
    val = str(shared / "data" / "tiny-imagenet-val.zip")
    how = api.QuantizeOptions(calib=shared / "data" / "tiny-imagenet-train.zip")
    plain = api.export(MODEL, options, api.ExportOptions(form="naive"), out=folder, data=val)
    files = [MODEL, str(api.export(MODEL, options, out=folder, data=val).path)]
    files.append(str(api.quantize(MODEL, how, options, out=folder).path))
    for seed in range(3):
        twin = folder / f"twin{seed}.safetensors"
        api.stress(MODEL, twin, options, seed=seed, strength=3)
        files.append(str(api.quantize(MODEL, how, api.ModelOptions(twin), out=folder).path))
    return api.compare(str(plain.path), files, val, options)


def test_fp32_is_pytorchs_to_the_image(compared: CompareReport) -> None:
    assert compared.n == 5000 and compared.base.top1 == pytest.approx(30.94)
    for exact in compared.others[:2]:
        assert exact.drop.lost == exact.drop.gained == 0
        assert exact.agreement == 100 and exact.sqnr_db > 120


def test_int8_loses_little_and_stressed_twins_no_more(compared: CompareReport) -> None:
    int8, *twins = compared.others[2:]
    assert abs(int8.drop.points) < 0.5 and int8.drop.ci95[0] < 0 < int8.drop.ci95[1]
    assert int8.sqnr_db > 28 and int8.agreement > 94
    assert len(twins) == 3
    for twin in twins:
        assert twin.sha256 == int8.sha256  # the very same file


def test_calibration_images_cannot_be_scored(shared: Path, tmp_path: Path) -> None:
    weights = shared / "weights" / "edgenext_xx_small_tinyimagenet.safetensors"
    train = str(shared / "data" / "tiny-imagenet-train.zip")
    how = api.QuantizeOptions(calib=train, n=32)
    made = api.quantize(MODEL, how, api.ModelOptions(weights), out=tmp_path)
    with pytest.raises(OverlapError, match="32 of the 5000"):
        api.evaluate([str(made.path)], train)
