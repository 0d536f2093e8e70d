"""The promise on real images: 5,000 of Tiny-ImageNet, with weights trained on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgenext import api
from edgenext.errors import OverlapError
from edgenext.export.deployment_graph import read_graph
from edgenext.formats.artifact import Artifact
from edgenext.options import DataOptions, ModelOptions, QuantizeOptions
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


Compare = Callable[[int], CompareReport]


@pytest.fixture(scope="module")
def compare(
    shared: Path, weights: Path, int8: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Compare:
    """The plain export against PyTorch, the folded export and INT8, on so many images."""
    folder, options = tmp_path_factory.mktemp("fp32"), ModelOptions(weights)
    val = shared / "data" / "tiny-imagenet-val.zip"
    plain = api.export(MODEL, options, api.ExportOptions(form="naive"), out=folder)
    folded = api.export(MODEL, options, out=folder)

    def on(n: int) -> CompareReport:
        others = [MODEL, str(folded.path), str(int8.path)]
        return api.compare(str(plain.path), others, DataOptions(val, limit=n), options)

    return on


def test_fp32_is_pytorchs_to_the_image_and_int8_loses_little(compare: Compare) -> None:
    report = compare(1000)
    for exact in report.others[:2]:
        assert exact.drop.lost == exact.drop.gained == 0
        assert exact.agreement == 100 and exact.sqnr_db > 120
    quantized = report.others[2]
    assert abs(quantized.drop.points) <= 0.8
    assert quantized.drop.ci95[0] < 0.1 < quantized.drop.ci95[1]  # 4 lost, 0 gained; on 5,000: 0.14
    assert quantized.sqnr_db > 29 and quantized.agreement > 94


@pytest.mark.campaign
def test_all_5000_images(compare: Compare) -> None:
    report = compare(5000)
    assert report.n == 5000 and report.base.top1 == pytest.approx(30.94)
    assert all(exact.drop.lost == exact.drop.gained == 0 for exact in report.others[:2])
    quantized = report.others[2]
    assert abs(quantized.drop.points) < 0.5
    assert quantized.drop.ci95[0] < 0 < quantized.drop.ci95[1]


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.campaign) for seed in (1, 2))]
)
def test_a_stressed_twin_loses_no_more(
    weights: Path, how: QuantizeOptions, int8: Artifact, seed: int, tmp_path: Path
) -> None:
    twin = tmp_path / "twin.safetensors"
    api.stress(MODEL, ModelOptions(weights), out=twin, seed=seed, strength=3)
    made = api.quantize(MODEL, how, ModelOptions(twin), out=tmp_path)
    # the very same file, but for the hash of the weights that it is from
    assert read_graph(made).model == read_graph(int8).model


def test_calibration_images_cannot_be_scored(how: QuantizeOptions, int8: Artifact) -> None:
    with pytest.raises(OverlapError, match="128 of the 5000"):
        api.evaluate([str(int8.path)], str(how.calib))
