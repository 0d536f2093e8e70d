"""Records of shards, merged, are exactly the record of the whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenext.commands.sweep_shards import merge, shard_rows
from edgenext.errors import DataError, RuntimeFailedError
from edgenext.metrics.accuracy import paired_comparison, score
from edgenext.schema import ShardScores

FACTS = {
    "runtime": "r",
    "evidence": "host",
    "worked": {"worker": "w", "started": 0.0, "ended": 1.0},
}


def logits(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    values = generator.normal(0, 3, (n, 7)).astype(np.float32)
    values[::5] = values[::5].round()  # some are equal
    return values, generator.integers(0, 7, n)


def records(
    values: np.ndarray, labels: np.ndarray, size: int, base: np.ndarray | None = None
) -> list[ShardScores]:
    parts = (slice(start, start + size) for start in range(0, len(values), size))
    return [
        ShardScores(
            **shard_rows("a", values[p], labels[p], None if base is None else base[p]), **FACTS
        )
        for p in parts
    ]


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 5))
def test_merged_shards_score_as_all_images_at_once(n: int, size: int, seed: int) -> None:
    values, labels = logits(n, seed)
    merged, whole = merge(records(values, labels, size)), score("a", values, labels)
    assert (merged.top1, merged.top5) == (whole.top1, whole.top5)
    assert merged.loss == pytest.approx(whole.loss, rel=1e-12)
    assert merged.loss == merge(records(values, labels, n)).loss  # whatever the shards are
    assert (merged.ranks, merged.first) == (
        merge(records(values, labels, n)).ranks,
        tuple(values.argmax(1).tolist()),
    )


def test_drops_of_merged_shards_are_those_of_compare() -> None:
    (base, labels), (other, _) = logits(200), logits(200, 1)
    other = (base + 0.3 * other).astype(np.float32)
    whole = paired_comparison("b", base, other, labels)
    first = merge(records(base, labels, 32))
    for size in (1, 32, 200):
        merged = merge(records(other, labels, size, base))
        assert merged.drop_from(first) == whole.drop
        assert merged.agreement_with(first) == whole.agreement
        for name in ("sqnr_db", "cosine", "kl"):
            assert getattr(merged, name) == pytest.approx(getattr(whole, name), rel=1e-12)
            once = merge(records(other, labels, 200, base))
            assert getattr(merged, name) == getattr(once, name)  # whatever the shards are
    assert merge(records(base, labels, 32, base)).sqnr_db == 200


def test_logits_of_another_shape_than_the_base_are_refused() -> None:
    values, labels = logits(8)
    with pytest.raises(DataError, match="and its base of"):
        shard_rows("a", values, labels, values[:, :6])


def test_the_hash_of_logits_sees_every_bit_and_the_order() -> None:
    values, labels = logits(64)
    first = merge(records(values, labels, 16)).logits_sha256
    changed = values.copy()
    changed[63, 6] = np.nextafter(changed[63, 6], np.float32(math.inf))
    assert merge(records(values, labels, 16)).logits_sha256 == first
    assert merge(records(changed, labels, 16)).logits_sha256 != first
    assert merge(records(values, labels, 16)[::-1]).logits_sha256 != first


def test_logits_that_are_not_numbers_are_refused() -> None:
    values, labels = logits(8)
    values[3, 2] = math.nan
    with pytest.raises(RuntimeFailedError, match="not numbers"):
        shard_rows("a", values, labels)
