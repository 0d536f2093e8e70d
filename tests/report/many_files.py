"""A run of a hundred files, whose judged file changes thousands of answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from picture_runs import CLASSES, write_images
from report_runs import (
    FOLDED,
    INT8,
    PLAIN,
    benchmark,
    exported,
    predictions_of,
    save,
    scored,
    sha,
    summary,
    timed,
)

from edgenext.metrics.accuracy import accuracy, paired_comparison
from edgenext.report.predictions import IMAGES, save_predictions
from edgenext.schema import CompareReport, EvalReport

FILES = 100
N = 20_000


def large_run(folder: Path) -> tuple[Path, int]:
    """Its folder, and how many answers its judged file changes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(CLASSES), N)
    base = rng.normal(0, 1.0, (N, len(CLASSES))).astype(np.float32)
    base[np.arange(N), labels] += rng.gamma(2.0, 0.8, N).astype(np.float32)
    rough = base + rng.normal(0, 0.45, base.shape).astype(np.float32)
    changed = np.flatnonzero(base.argmax(1) != rough.argmax(1))
    names = [PLAIN, FOLDED, INT8, *(f"net-w8a8-static-{i:02}" for i in range(FILES - 3))]
    run = summary(n=N)
    data = run.compare.data
    assert data
    data = data.model_copy(update={"data": "photos"})
    pair = paired_comparison(INT8, base, rough, labels, sha256=sha(INT8), scheme="w8a8-static")
    others = [pair.model_copy(update={"artifact": name, "sha256": sha(name)}) for name in names[2:]]
    top1 = accuracy(PLAIN, base, labels, sha256=sha(PLAIN))
    timings = [timed(name, 12.8 if name == PLAIN else 8.0 + i / 50) for i, name in enumerate(names)]
    run = run.model_copy(
        update={
            "artifacts": tuple(map(exported, names)),
            "eval": EvalReport(results=tuple(scored(n, top1.top1, N, data) for n in names)),
            "compare": CompareReport(n=N, base=top1, others=tuple(others), data=data),
            "bench": benchmark(timings),
        }
    )
    run_dir = save(folder / "run", run)
    save_predictions(run_dir, predictions_of({PLAIN: base, INT8: rough, "labels": labels}))
    images = write_images(folder / "photos", labels, set(changed[:400].tolist()))
    (run_dir / IMAGES).write_text(images.model_dump_json(), encoding="utf-8")
    return run_dir, len(changed)
