"""The embedded digits."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from edgenext.data import ImageSet, digits, load_images, require_disjoint
from edgenext.errors import DataError
from edgenext.schema import EvalTransform

SIZE = EvalTransform(size=32, crop_pct=1.0)


def load(role: str, num_classes: int = 10, **options: object) -> ImageSet:
    return load_images("digits", SIZE, role=role, num_classes=num_classes, **options)


def test_the_splits_are_stratified_and_disjoint():
    train, val = load("train"), load("val")
    assert len(train) + len(val) == 1797 == len(set(train.hashes) | set(val.hashes))
    share = np.bincount(val.labels) / np.bincount(np.concatenate((train.labels, val.labels)))
    assert (np.abs(share - 1 / digits._VAL_EVERY) < 0.01).all()
    assert (train.info.split, val.info.split) == ("train", "val")
    assert val.classes == tuple("0123456789")
    require_disjoint(val, train.calibration())
    assert load("val", seed=5).hashes == val.hashes  # the split never changes


def test_pixels_are_the_scans_enlarged():
    scans, val = load_digits(), load("val")
    for image, label, name in list(zip(val.images, val.labels, val.names, strict=True))[::50]:
        k = int(name.split("/")[1])
        assert scans.target[k] == label
        scan = Image.fromarray(np.round(scans.images[k] * 255 / 16).astype(np.uint8))
        expected = np.asarray(scan.resize((32, 32), Image.Resampling.BICUBIC).convert("RGB"))
        np.testing.assert_array_equal(image, expected)


def test_a_subset_touches_no_file(cache):
    part = load("train", limit=25, exclude=load("train", limit=30, seed=1).hashes)
    assert sorted(np.bincount(part.labels)) == [2] * 5 + [3] * 5
    assert part.images.shape == (25, 32, 32, 3)
    assert not cache.exists()


def test_digits_for_another_model():
    with pytest.raises(DataError, match="digits has 10 classes, the model has 1000"):
        load("val", 1000)
    assert load("val", 11, labels=["x", *"9876543210"]).labels.max() == 10
