"""A training that is killed in the middle of an epoch ends as if it had not been."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

COMMAND = [
    sys.executable, "-m", "edgenext", "train", "edgenext_xx_small", "--data", "digits", "--size",
    "32", "--epochs", "2", "--batch-size", "32", "--accumulate", "2", "--drop-path", "0.1",
    "--accelerator", "cpu", "--checkpoint-minutes", "0.0001", "--set", "warmup_epochs=0.5",
]  # fmt: skip


def train(out: Path, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *options, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def batches_done(path: Path) -> int:
    """Of an epoch that a checkpoint is in the middle of."""
    try:
        return int(torch.load(path, weights_only=True)["position"]["batches"])
    except (OSError, EOFError, RuntimeError, KeyError):
        return 0


@pytest.mark.slow
def test_the_same_weights_come_out_of_a_killed_training(tmp_path: Path) -> None:
    with train(tmp_path / "killed") as killed:
        checkpoint, limit = tmp_path / "killed" / "checkpoint.pth", time.monotonic() + 120
        while batches_done(checkpoint) < 4 and killed.poll() is None:
            assert time.monotonic() < limit, "no checkpoint within an epoch"
            time.sleep(0.01)
        assert killed.poll() is None
        killed.send_signal(signal.SIGKILL)
    with train(tmp_path / "whole") as whole, train(tmp_path / "killed", "--resume") as resumed:
        for process in (whole, resumed):
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output.decode()
    weights = [
        (tmp_path / name / "edgenext_xx_small_digits.safetensors").read_bytes()
        for name in ("whole", "killed")
    ]
    assert weights[0] == weights[1]
    histories = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "killed")
    ]
    for a, b in zip(*histories, strict=True):
        timed = ("seconds", "images_per_s")
        assert {k: v for k, v in a.items() if k not in timed} == {
            k: v for k, v in b.items() if k not in timed
        }
    files = {p.name for p in (tmp_path / "killed").iterdir() if not p.name.startswith(".")}
    assert files == {p.name for p in (tmp_path / "whole").iterdir() if not p.name.startswith(".")}
    assert {"curves.png", "log.jsonl", "best.safetensors", "best-ema.safetensors"} <= files
