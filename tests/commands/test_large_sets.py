"""Evaluating many images of many classes needs little memory: a process has a limit."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgenext.models import zoo

IMAGES = 20_000
EXTRA_MB = 48
"""What the process may allocate once the images are loaded; it needs less than 24. Their pixels are
59 MiB, the logits of one file 76 MiB: with either of them in memory it fails."""

WORK = """
import resource, sys
from pathlib import Path
import numpy as np
from tiny_artifacts import tiny_artifact
from edgenext.commands.compare import compared
from edgenext.commands.context import Context
from edgenext.commands.evaluate import evaluate_subjects, logits_of
from edgenext.commands.images import labelled_images
from edgenext.commands.run_predictions import keep_logits, keep_predictions
from edgenext.commands.search_choice import halves
from edgenext.commands.subject import Subject
from edgenext.metrics.accuracy import eval_report, paired_comparison
from edgenext.options import DataOptions

folder, data, extra = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) << 20
subjects = [
    Subject(artifact=tiny_artifact(folder, f"seed{seed}", channels=1, classes=1000, seed=seed))
    for seed in (0, 1)
]
context = Context()
compared(evaluate_subjects(subjects, DataOptions(data, 64), context))  # loads every library
images = labelled_images(context, subjects[0], DataOptions(data))

def allocated():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmData")))

limit = allocated() + extra
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
evaluation = evaluate_subjects(subjects, DataOptions(data), context)
report = compared(evaluation)
keep_predictions(folder, evaluation)
keep_logits(folder, evaluation)
choosing, reporting = halves(images, 0)
session = subjects[0].session()
half = logits_of(session, choosing)
assert len(half) + len(reporting) == len(images) == evaluation.images.info.n
assert (evaluation.predictions[0].logits[-1] == logits_of(session, images.take([-1]))[0]).all()
print(report.n, report.others[0].agreement)
"""


@pytest.fixture
def many_images(tmp_path: Path) -> Path:
    """A zip of 20 images of 8×8 pixels in each of ImageNet's classes."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (IMAGES, 192), np.uint8)
    path, wnids = tmp_path / "many.zip", zoo.imagenet_wnids()
    with zipfile.ZipFile(path, "w") as archive:
        for i, image in enumerate(pixels):
            name = f"{wnids[i % len(wnids)]}/{i:05d}.ppm"
            archive.writestr(zipfile.ZipInfo(name), b"P6 8 8 255\n" + image.tobytes())
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_20_000_images_are_evaluated_with_a_memory_limit(tmp_path: Path, many_images: Path) -> None:
    roots = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(roots),
        "EDGENEXT_CACHE": str(tmp_path / "cache"),
    }
    process = subprocess.run(
        [sys.executable, "-c", WORK, str(tmp_path), str(many_images), str(EXTRA_MB)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert process.stdout.split()[0] == str(IMAGES)
    kept = tmp_path / "predictions.npz"
    assert kept.stat().st_size < 20 * 2 * IMAGES
    for name in ("seed0", "seed1"):
        stored = np.load(tmp_path / "logits" / f"{name}.npy", mmap_mode="r")
        assert (stored.shape, stored.dtype) == ((IMAGES, 1000), np.float16)
        best = np.load(kept)[f"first/{name}"]
        assert (stored[::100].argmax(1) == best[::100]).mean() > 0.97  # of 16 bits some are equal
    assert list((tmp_path / "cache" / "scratch").iterdir()) == []
