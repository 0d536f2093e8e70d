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
from photo_sets import photo_folder

OPTIONS = [
    "--size", "32", "--epochs", "2", "--batch-size", "4", "--accumulate", "2", "--drop-path", "0.1",
    "--workers", "0", "--accelerator", "cpu", "--checkpoint-minutes", "0.0001",
    "--set", "loader=photos", "--set", "mixup=0.2", "--set", "mixing=0.5",
]  # fmt: skip


def train(data: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edgenext", "train", "edgenext_xx_small", "--data", str(data)]
    return subprocess.Popen(
        [*command, *OPTIONS, *options, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def batches_done(path: Path) -> int:
    """Of an epoch that a checkpoint is in the middle of."""
    try:
        return int(torch.load(path, weights_only=True)["position"]["batches"])
    except (OSError, EOFError, RuntimeError, KeyError):
        return 0


@pytest.mark.slow
def test_the_same_weights_come_out_of_a_killed_training(tmp_path: Path) -> None:
    data = tmp_path / "data"
    photo_folder(data / "train", 30)
    photo_folder(data / "val", 3, first=50)
    with train(data, tmp_path / "killed") as killed:
        checkpoint, limit = tmp_path / "killed" / "checkpoint.pth", time.monotonic() + 120
        while batches_done(checkpoint) < 4 and killed.poll() is None:
            assert time.monotonic() < limit, "no checkpoint within an epoch"
            time.sleep(0.01)
        assert killed.poll() is None
        killed.send_signal(signal.SIGKILL)
    folders = (tmp_path / "whole", tmp_path / "killed")
    with train(data, folders[0]) as whole, train(data, folders[1], "--resume") as resumed:
        for process in (whole, resumed):
            output, _ = process.communicate(timeout=300)
            assert process.returncode == 0, output.decode()
    weights = [(f / "edgenext_xx_small_data.safetensors").read_bytes() for f in folders]
    assert weights[0] == weights[1]
    histories = [
        [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        for folder in folders
    ]
    for a, b in zip(*histories, strict=True):
        timed = ("seconds", "images_per_s")
        assert {k: v for k, v in a.items() if k not in timed} == {
            k: v for k, v in b.items() if k not in timed
        }
    files, others = ({p.name for p in f.iterdir() if p.name[0] != "."} for f in folders)
    assert files == others
    assert {"curves.png", "log.jsonl", "best.safetensors", "best-ema.safetensors"} <= files
