from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from edgenext.errors import DataError, RuntimeFailedError
from edgenext.metrics.accuracy import accuracy, paired_comparison, paired_drop, ranks, score
from edgenext.metrics.fidelity import CHUNK, fidelity, sqnr_db

Floats = NDArray[np.float32]


def noisy(
    n: int = 200, k: int = 10, noise: float = 0.3
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    rng = np.random.default_rng(2)
    base = rng.normal(size=(n, k)).astype(np.float32)
    other = (base + noise * rng.normal(size=(n, k))).astype(np.float32)
    return base, other, rng.integers(0, k, n)


def test_score_agrees_with_torch() -> None:
    values, _, labels = noisy(CHUNK + 100, 7)
    scored = score("a", values, labels, scheme="fp32", runtime="r")
    x, y = torch.from_numpy(values).double(), torch.from_numpy(labels)
    top = x.topk(5, dim=1).indices
    assert scored.top1 == pytest.approx(100 * (top[:, 0] == y).double().mean().item())
    assert scored.top5 == pytest.approx(100 * (top == y[:, None]).any(1).double().mean().item())
    assert scored.loss == pytest.approx(F.cross_entropy(x, y).item(), rel=1e-9)
    assert (scored.n, scored.artifact, scored.scheme, scored.runtime) == (
        CHUNK + 100,
        "a",
        "fp32",
        "r",
    )


def test_fewer_than_five_classes_are_all_in_the_top_five() -> None:
    values, _, labels = noisy(50, 3)
    assert score("a", values, labels).top5 == 100


def test_huge_logits_have_a_finite_loss() -> None:
    values = np.array([[3e38, -3e38], [-3e38, 3e38]], np.float32)
    scored = score("a", values, np.array([0, 0]))
    assert scored.loss == pytest.approx(3e38, rel=1e-6)


def test_ties_go_to_the_lower_class_as_in_argmax() -> None:
    values = np.zeros((10, 10), np.float32)
    labels = np.arange(10)
    scored = score("a", values, labels)
    assert scored.top1 == 100 * np.mean(values.argmax(1) == labels) == 10
    assert scored.top5 == 50
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 3, (500, 6)).astype(np.float32)
    labels = rng.integers(0, 6, 500)
    np.testing.assert_array_equal(ranks(coarse, labels) == 0, coarse.argmax(1) == labels)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_name_the_artifact_and_the_count(bad: float) -> None:
    values, _, labels = noisy(20)
    broken = values.copy()
    broken[3, 1] = broken[3, 2] = broken[7, 0] = bad
    with pytest.raises(RuntimeFailedError, match=r"small-int8 gave logits .* 2 of 20 images"):
        score("small-int8", broken, labels)
    with pytest.raises(RuntimeFailedError, match="small-int8 gave logits"):
        paired_comparison("small-int8", values, broken, labels)
    with pytest.raises(RuntimeFailedError, match="plain gave logits"):
        paired_comparison("small-int8", broken, values, labels, base_name="plain")


def test_labels_outside_the_classes_are_refused() -> None:
    values, _, labels = noisy(20, 4)
    with pytest.raises(DataError, match="a has 4 classes, but labels run from"):
        score("a", values, labels + 4)
    with pytest.raises(DataError, match="labels run from -1"):
        accuracy("a", values, labels * 0 - 1)


def test_wrong_shapes_are_refused() -> None:
    values, _, labels = noisy(20, 4)
    with pytest.raises(DataError, match="20×4 for 19 labels"):
        score("a", values, labels[1:])
    with pytest.raises(DataError, match="0×4"):
        score("a", values[:0], labels[:0])
    with pytest.raises(
        DataError, match="small and plain cannot be compared: logits of 20×3 and 20×4"
    ):
        paired_comparison("small", values, values[:, :3], labels, base_name="plain")


def test_paired_drop_counts_lost_and_gained() -> None:
    base = np.array([1, 1, 1, 1, 0, 0, 1, 0], bool)
    other = np.array([1, 0, 0, 0, 1, 0, 1, 0], bool)
    drop = paired_drop(base, other)
    assert (drop.lost, drop.gained) == (3, 1)
    assert drop.points == pytest.approx(25)
    assert drop.p_value == pytest.approx(2 * 5 / 16)
    assert drop.ci95[0] < 25 < drop.ci95[1]


def test_compare_agrees_with_torch() -> None:
    base, other, labels = noisy(CHUNK + 50)
    comparison = paired_comparison("a", base, other, labels)
    b, o = torch.from_numpy(base).double(), torch.from_numpy(other).double()
    kl = F.kl_div(o.log_softmax(1), b.log_softmax(1), log_target=True, reduction="batchmean")
    assert comparison.kl == pytest.approx(kl.item(), rel=1e-9)
    assert comparison.cosine == pytest.approx(F.cosine_similarity(b, o).mean().item(), rel=1e-9)
    centred = b - b.mean(1, keepdim=True)
    error = centred - (o - o.mean(1, keepdim=True))
    sqnr = 10 * torch.log10(centred.square().sum() / error.square().sum())
    assert comparison.sqnr_db == pytest.approx(sqnr.item(), rel=1e-9)
    assert comparison.agreement == pytest.approx(
        100 * (b.argmax(1) == o.argmax(1)).double().mean().item()
    )
    assert comparison.top1 == score("a", other, labels).top1
    top1 = accuracy("b", base, labels).top1
    assert comparison.drop.points == pytest.approx(top1 - comparison.top1)


def test_equal_logits_are_capped_and_stay_valid_json() -> None:
    base, _, labels = noisy()
    comparison = paired_comparison("a", base, base.copy(), labels)
    assert (comparison.sqnr_db, comparison.cosine, comparison.kl, comparison.agreement) == (
        200,
        pytest.approx(1),
        0,
        100,
    )
    assert (comparison.drop.points, comparison.drop.p_value) == (0, 1)
    assert json.loads(comparison.model_dump_json())["sqnr_db"] == 200


def test_a_constant_added_to_an_images_logits_is_no_noise() -> None:
    base, _, _ = noisy()
    shift = np.arange(len(base), dtype=np.float32)[:, None]
    closeness = fidelity(base, base + shift)
    assert closeness.sqnr_db > 90
    assert closeness.kl == pytest.approx(0, abs=1e-9)


def test_sqnr_of_noise_with_known_energy() -> None:
    assert sqnr_db(100, 1) == pytest.approx(20)
    assert sqnr_db(1, 0) == 200
    assert sqnr_db(0, 1) == -200
    assert sqnr_db(1e300, 1e-300) == 200
    assert sqnr_db(1e-300, 1e300) == -200


def test_zero_logits_have_a_cosine() -> None:
    zero, one = np.zeros((4, 3), np.float32), np.ones((4, 3), np.float32)
    assert fidelity(zero, zero).cosine == 1
    assert fidelity(zero, one).cosine == 0
