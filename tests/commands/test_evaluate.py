"""Networks and artifacts over images: every image once, in order, whatever the batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgenext.commands.evaluate import logits_of
from edgenext.data import ImageSet
from edgenext.errors import DataError
from edgenext.formats.artifact import Artifact
from edgenext.formats.runtimes import open_session
from edgenext.schema import EvalTransform, SubsetInfo


def image_set(n: int) -> ImageSet:
    rng = np.random.default_rng(1)
    return ImageSet(
        images=rng.integers(0, 256, (n, 32, 32, 3), np.uint8),
        labels=rng.integers(0, 10, n),
        hashes=tuple(f"{i:016x}" for i in range(n)),
        names=tuple(map(str, range(n))),
        transform=EvalTransform(size=32),
        info=SubsetInfo(data="noise", sha256="0" * 64, n=n, n_total=n, seed=0),
    )


def test_evaluation_gives_every_image_once_and_reports_progress(
    make_artifact: Callable[..., Artifact],
) -> None:
    data = image_set(37)
    calls: list[tuple[str, int, int]] = []
    free = open_session(make_artifact("free"))
    values = logits_of(free, data, lambda *call: calls.append(call), "free")
    assert values.shape == (37, 10)
    assert values.dtype == np.float32
    assert calls[-1] == ("evaluating free", 37, 37)
    assert [done for _, done, _ in calls] == sorted({done for _, done, _ in calls})
    one_by_one = np.concatenate(
        [free.infer(free.prepare(data.images[i : i + 1])) for i in range(37)]
    )
    np.testing.assert_allclose(values, one_by_one, atol=1e-5)


def test_evaluation_fills_a_fixed_batch_and_drops_the_filling(
    make_artifact: Callable[..., Artifact],
) -> None:
    data = image_set(10)
    free, fixed = (open_session(make_artifact(n, batch=b)) for n, b in (("free", -1), ("four", 4)))
    np.testing.assert_allclose(logits_of(fixed, data), logits_of(free, data), atol=1e-5)


def test_evaluation_needs_images(make_artifact: Callable[..., Artifact]) -> None:
    with pytest.raises(DataError, match="noise has no images"):
        logits_of(open_session(make_artifact()), image_set(0))
