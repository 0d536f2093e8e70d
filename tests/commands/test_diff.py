"""Where two files part: how tensors are lined up, and what is said of whole files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from edgenext import api
from edgenext.formats.artifact import content_sha256, manifest_path, open_artifact
from edgenext.metrics.alignment import Fit, Tally
from edgenext.schema import DiffReport

XXS = "edgenext_xx_small"
RANDOM = api.ModelOptions(random_weights=True, num_classes=10, size=64)


def tally(a: NDArray[Any], b: NDArray[Any], fit: Fit) -> float:
    """SQNR in dB, taken in image by image."""
    made = Tally(fit)
    for x, y in zip(a, b, strict=True):
        made.add(x[None], y[None])
    return made.sqnr_db()


def tensor(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    """Of sixteen images."""
    return np.random.default_rng(seed).normal(0, 1, (16, *shape))


LAYOUTS = {
    "as it is": lambda x: x,
    "channels last": lambda x: np.moveaxis(x, 1, -1),
    "tokens": lambda x: np.moveaxis(x.reshape(*x.shape[:2], -1), 1, -1),
    "heads": lambda x: x.reshape(len(x), 4, 6, -1),
    "heads of tokens": lambda x: np.moveaxis(x.reshape(*x.shape[:2], -1), 1, -1).reshape(
        len(x), -1, 4, 6
    ),
}
SCALES = np.geomspace(0.1, 10, 24)[:, None, None]
OFFSETS = np.linspace(-2, 3, 24)[:, None, None]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fit", ["", "scale", "scale and offset"])
def test_the_noise_is_found_in_every_layout_and_unit(layout: str, fit: Fit) -> None:
    a = tensor(24, 5, 5)
    b = a + 0.01 * tensor(24, 5, 5, seed=1)
    if fit:
        b = b * SCALES
    if fit == "scale and offset":
        b = b + OFFSETS * SCALES
    b = LAYOUTS[layout](b)
    assert tally(a, b, fit) == pytest.approx(40, abs=0.3)
    assert tally(b, a, fit) == pytest.approx(40, abs=1)
    if fit:
        assert tally(a, b, "") < 10


@pytest.mark.parametrize("fit", ["", "scale", "scale and offset"])
def test_what_is_equal_and_what_has_nothing_in_common(fit: Fit) -> None:
    a = tensor(24, 5, 5)
    assert tally(a, a, fit) > 140
    assert tally(a, tensor(24, 5, 5, seed=1), fit) < 3
    pooled = tensor(24)
    assert tally(pooled, pooled * SCALES[:, 0, 0], "scale") > 140
    assert tally(pooled, tensor(24, seed=1), fit) < 3


def test_a_value_that_is_no_number_is_as_far_as_can_be() -> None:
    a = tensor(3)
    b = a.copy()
    b[7, 1] = np.inf
    assert tally(a, b, "") == tally(b, a, "scale") == -200


def test_tensors_of_different_size_are_told() -> None:
    made = Tally("")
    made.add(tensor(3), tensor(4))
    assert made.unlike


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network's float file, the same with batch 3 and in the plain form, and its INT8 file."""
    where = tmp_path_factory.mktemp("diff")
    api.export(XXS, RANDOM, out=where)
    api.export(XXS, RANDOM, api.ExportOptions(batch=3), out=where)
    api.export(XXS, RANDOM, api.ExportOptions(form="naive"), out=where)
    api.quantize(XXS, api.QuantizeOptions(calib="digits", n=16), RANDOM, out=where)
    return where


FP32, PLAIN, INT8 = (f"{XXS}-64-{kind}.onnx" for kind in ("fp32", "fp32-plain", "w8a8-static"))


def altered(path: Path, node: str, channel: int, factor: float) -> Path:
    """A copy of a file in which one channel of a convolution's weights is scaled."""
    copy = path.with_name(f"altered-{path.name}")
    model = onnx.load(path)
    conv = next(n for n in model.graph.node if n.op_type == "Conv" and node in n.name)
    makers = {name: n for n in model.graph.node for name in n.output}
    name = conv.input[1] if conv.input[1] not in makers else makers[conv.input[1]].input[0]
    weights = next(t for t in model.graph.initializer if t.name == name)
    values = numpy_helper.to_array(weights).copy()
    values[channel] = (values[channel] * factor).astype(values.dtype)
    weights.CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(model, copy)
    manifest = open_artifact(path).manifest
    changed = manifest.model_copy(update={"file": copy.name, "sha256": content_sha256(copy)})
    manifest_path(copy).write_text(changed.model_dump_json())
    return copy


def diff(a: object, b: object, limit: int = 16, **options: Any) -> DiffReport:
    return api.diff(str(a), str(b), api.DataOptions("digits", limit), RANDOM, **options)


@pytest.mark.parametrize("name", [FP32, INT8])
@pytest.mark.parametrize("site", ["stages.0.1.dwconv", "stages.2.3.pwconv1", "stages.3.1.xca.qkv"])
def test_an_altered_weight_is_pinpointed(
    folder: Path, tmp_path: Path, name: str, site: str
) -> None:
    original = tmp_path / name
    for file in (folder / name, manifest_path(folder / name)):
        shutil.copy(file, tmp_path)
    stage, layer = site.split(".")[:3], site.split(".")[3:]
    node = "/".join([".".join(stage), *layer]) + "/"
    report = diff(original, altered(original, node, 2, -1.0), threshold_db=90, limit=4)
    assert report.first == site
    rows = {row.site: row for row in report.sites}
    before = list(rows)[: list(rows).index(site)]
    assert all(rows[s].sqnr_db == 200 for s in before)
    assert rows[site].sqnr_db < 60
    assert site in report.most
    assert not report.fitted


def test_int8_is_near_at_every_site_though_its_channels_are_rescaled(folder: Path) -> None:
    report = diff(folder / FP32, folder / INT8)
    assert report.fitted == "scale"
    assert not (report.only_a or report.only_b or report.unlike or report.untraced)
    assert len(report.sites) > 100
    assert min(row.sqnr_db for row in report.sites) > 10
    for before, row in zip(report.sites, report.sites[1:], strict=False):
        assert row.loss_db == pytest.approx(before.sqnr_db - row.sqnr_db, abs=0.02)


def test_the_plain_form_computes_the_same_at_the_sites_both_have(folder: Path) -> None:
    report = diff(folder / PLAIN, folder / FP32)
    assert report.fitted == "scale and offset"
    assert report.first == ""
    assert min(row.sqnr_db for row in report.sites) > 90
    assert report.only_a
    assert report.only_b


def test_a_network_takes_the_form_of_the_file(folder: Path) -> None:
    for name in (FP32, PLAIN):
        report = diff(XXS, folder / name)
        assert report.runtimes == ("torch", "onnxruntime")
        assert not (report.only_a or report.only_b or report.fitted)
        assert min(row.sqnr_db for row in report.sites) > 90
        assert report.logits_db > 90


def test_batches_need_not_be_of_one_size(folder: Path) -> None:
    report = diff(folder / FP32, folder / "edgenext_xx_small-64-batch3-fp32.onnx", limit=7)
    assert report.n == 7
    assert report.first == ""
    assert min(row.sqnr_db for row in report.sites) > 90


def test_kinds_are_told_where_a_float_graph_is_among_the_two(folder: Path) -> None:
    kinds = {row.site: row.kind for row in diff(folder / INT8, folder / FP32).sites}
    assert kinds["stages.0.0.dwconv"] == "depthwise"
    assert kinds["head"] == "head"
