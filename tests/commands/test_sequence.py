"""Evaluation that stops when a budget is decided: its order, its resumption, damaged files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgenext.commands.sequence import SHARD, PairedSequence, ShardedLogits, ordered, sequences
from edgenext.data import ImageSet
from edgenext.errors import DataError
from edgenext.formats.artifact import Artifact
from edgenext.formats.runtimes import open_session
from edgenext.formats.session import Session, logits
from edgenext.metrics.sequence import sequence_interval, sequence_p_value
from edgenext.schema import EvalTransform, SubsetInfo
from edgenext.system.arrays import write_arrays


def image_set(n: int) -> ImageSet:
    rng = np.random.default_rng(1)
    return ImageSet(
        images=rng.integers(0, 256, (n, 32, 32, 3), np.uint8),
        labels=np.sort(rng.integers(0, 10, n)),
        hashes=tuple(f"{i:016x}" for i in range(n)),
        names=tuple(map(str, range(n))),
        transform=EvalTransform(size=32),
        info=SubsetInfo(data="noise", sha256="0" * 64, n=n, n_total=n, seed=0),
    )


def no_look(_: int) -> None:
    """Nobody is told of a look."""


@pytest.fixture
def rows(make_artifact: Callable[..., Artifact], tmp_path: Path) -> Callable[..., ShardedLogits]:
    """Logits of a small file for ordered images; what opens its session can be counted."""
    artifact = make_artifact("free")

    def make(name: str, images: ImageSet, opened: list[str] | None = None) -> ShardedLogits:
        def session() -> Session:
            if opened is not None:
                opened.append(name)
            return open_session(artifact)

        return ShardedLogits(name, session, images, tmp_path / name)

    return make


def test_the_order_is_fixed_by_the_seed() -> None:
    images = image_set(200)
    first, again, other = ordered(images, 0), ordered(images, 0), ordered(images, 1)
    assert first.hashes == again.hashes != other.hashes
    assert sorted(first.hashes) == sorted(images.hashes), "each image once"
    assert len(set(first.labels[:SHARD].tolist())) > 5, "not class after class"
    with pytest.raises(DataError, match="noise has no images"):
        ordered(image_set(0), 0)


def test_it_stops_at_the_shard_that_decides(rows: Callable[..., ShardedLogits]) -> None:
    images = ordered(image_set(300), 0)
    base, same = rows("base", images), rows("same", images)
    looks: list[int] = []
    (pair,) = sequences(base, [same], images.labels, 5.0, looks.append)
    assert (pair.n, pair.decided_after, pair.outcome) == (128, 128, "under")
    assert looks == [64, 128]
    assert pair.interval == sequence_interval(0, 0, 128)
    expected = np.concatenate(list(logits(base.session, images.images[:128])))
    np.testing.assert_allclose(base.first(128), expected, atol=1e-5)
    (pair,) = sequences(base, [same], images.labels, 0.5, looks.append)
    assert (pair.n, pair.decided_after, pair.outcome) == (300, None, "undecided")
    decision = pair.decision(images, 0)
    assert (decision.n, decision.available, decision.shard) == (300, 300, SHARD)
    assert decision.order_sha256 != pair.decision(ordered(images, 1), 1).order_sha256


class KilledError(Exception):
    """A process was killed."""


def test_an_interrupted_sequence_goes_on(rows: Callable[..., ShardedLogits]) -> None:
    images = ordered(image_set(300), 0)
    whole = sequences(rows("a", images), [rows("b", images)], images.labels, 0.5, no_look)

    def stop(n: int) -> None:
        if n == 192:
            raise KilledError

    opened: list[str] = []
    with pytest.raises(KilledError):
        sequences(rows("c", images), [rows("d", images)], images.labels, 0.5, stop)
    base, other = rows("c", images, opened), rows("d", images, opened)
    for number in range(3):
        assert base.shard(number).shape == (SHARD, 10)
    assert not opened, "what is there is not computed again"
    assert sequences(base, [other], images.labels, 0.5, no_look) == whole
    assert sorted(opened) == ["c", "d"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", None])
def test_a_damaged_shard_is_made_again(
    rows: Callable[..., ShardedLogits], damage: bytes | None
) -> None:
    images = ordered(image_set(100), 0)
    before = rows("a", images).shard(0)
    row = rows("a", images)
    path = row.folder / "000000.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content) if damage is None else damage)
    np.testing.assert_array_equal(row.shard(0), before)
    np.savez(path, logits=before[:3])  # of fewer images
    np.testing.assert_array_equal(rows("a", images).shard(0), before)


def test_a_difference_of_the_files_is_found(rows: Callable[..., ShardedLogits]) -> None:
    """Labels are the base's own answers; the other file is wrong on every image."""
    images = ordered(image_set(128), 0)
    base, worse = rows("base", images), rows("worse", images)
    images = replace(images, labels=base.first(128).argmax(1))
    for number in range(2):
        path = worse.folder / f"{number:06d}.npz"
        write_arrays(path, {"logits": np.roll(base.shard(number), 1, axis=1)})
    (pair,) = sequences(base, [worse], images.labels, 1.0, no_look)
    assert (pair.outcome, pair.decided_after) == ("over", 64)
    assert (pair.lost, pair.gained, pair.n) == (64, 0, 64)
    assert pair.interval == sequence_interval(64, 0, 64)
    assert sequence_p_value(64, 0, 64) < 0.001


def test_a_file_that_was_decided_stays_decided() -> None:
    from drops import drop_of

    pair = PairedSequence(2.0)
    for _ in range(10):
        pair.add(drop_of(0, 0, 64), 64)
    assert pair.outcome == "under" and pair.decided_after == 320
    high = pair.interval[1]
    pair.add(drop_of(30, 0, 64), 64)
    assert pair.decided_after == 320 and pair.interval[1] == high
