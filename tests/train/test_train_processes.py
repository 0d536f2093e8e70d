"""Several processes: what torchrun and SLURM start, and two real ones over gloo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from photo_sets import photo_folder

from edgenext.data import load_images
from edgenext.errors import UsageError
from edgenext.models.checkpoint import load_checkpoint
from edgenext.train.evaluation import evaluate_network
from edgenext.train.processes import Processes, first_node, processes

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
SLURM = {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_STEP_ID": "0"}


def test_who_started_the_processes() -> None:
    assert processes({}) == Processes() and Processes().writes
    assert processes(TORCHRUN) == Processes(1, 4, 1) and not processes(TORCHRUN).writes
    assert processes(SLURM) == Processes(5, 8, 1)
    assert processes(SLURM | TORCHRUN) == Processes(1, 4, 1)
    alone = {k: v for k, v in SLURM.items() if k != "SLURM_STEP_ID"}  # sbatch without srun
    assert processes(alone) == Processes()
    with pytest.raises(UsageError, match="must be numbers"):
        processes(TORCHRUN | {"RANK": "one"})
    with pytest.raises(UsageError, match="RANK is 4, but there are 4"):
        processes(TORCHRUN | {"RANK": "4"})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu[03-05,7],cpu1", "gpu03"), ("a,b", "a"), ("node7", "node7"), ("n[12,14]", "n12")],
)
def test_the_first_node_of_slurm(nodes: str, first: str) -> None:
    assert first_node(nodes.replace("12,14", "12")) == first


def start(out: Path, data: Path, *options: str) -> subprocess.Popen[bytes]:
    """Two processes that train on photographs."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "edgenext", "train", "edgenext_xx_small_bn_hs", "--data", str(data), "--size", "32",
        "--out", str(out), "--accelerator", "cpu", "--workers", "0", "--batch-size", "4",
        "--set", "loader=photos", "--set", "warmup_epochs=0", *options,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,  # whatever torchrun signals stays among its own
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    photo_folder(folder / "train", 7)
    photo_folder(folder / "val", 3, first=50)  # 9 images: two processes cannot share them evenly
    return folder


HOOKS = """
from pathlib import Path
import torch
from edgenext.train.hooks import Hooks
from edgenext.train.processes import processes

class Sums(Hooks):
    def step(self, state, report):
        total = sum(p.double().sum().item() for p in state.network.parameters())
        with Path(f"{FOLDER}/sums-{processes().rank}").open("a") as f:
            f.write(f"{report.step} {total!r}\\n")
"""


@pytest.mark.slow
def test_two_processes_have_equal_weights_and_count_every_image_once(
    data: Path, tmp_path: Path
) -> None:
    hooks = tmp_path / "sums.py"
    hooks.write_text(HOOKS.replace("{FOLDER}", str(tmp_path)))
    with start(tmp_path / "out", data, "--epochs", "2", "--hooks", f"{hooks}:Sums") as training:
        output, _ = training.communicate(timeout=300)
        assert training.returncode == 0, output.decode()
    sums = [(tmp_path / f"sums-{rank}").read_text().splitlines() for rank in (0, 1)]
    assert sums[0] == sums[1] and len(sums[0]) == 2 * 3  # 21 images in batches of 2 × 4
    text = output.decode()
    assert text.count("epoch 2/2") == 1, text  # one of them prints
    (weights,) = (tmp_path / "out").glob("edgenext_*.safetensors")
    checkpoint = load_checkpoint(None, weights)
    val = load_images(data, checkpoint.eval, role="val", num_classes=3, labels=checkpoint.labels)
    saved = torch.load(tmp_path / "out" / "checkpoint.pth", weights_only=True)
    scores = evaluate_network(checkpoint.network(), val)
    assert saved["history"][-1]["top1"] == scores.top1 and saved["world"] == 2


@pytest.mark.slow
def test_a_process_that_dies_ends_the_training_and_it_resumes(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with start(out, data, "--epochs", "400") as training:
        limit = time.monotonic() + 120
        while not (out / "checkpoint.pth").is_file():
            assert time.monotonic() < limit and training.poll() is None
            time.sleep(0.05)
        children = psutil.Process(training.pid).children(recursive=True)
        (victim,) = (p for p in children if p.environ().get("RANK") == "1")
        victim.send_signal(signal.SIGKILL)
        output, _ = training.communicate(timeout=120)
        assert training.returncode != 0
    text = " ".join(output.decode().split())
    assert "SIGKILL" in text or "Signal 9" in text, text
    done = len(torch.load(out / "checkpoint.pth", weights_only=True)["history"])
    with start(out, data, "--epochs", "400", "--resume") as resumed:
        assert resumed.stdout is not None
        lines = []
        for line in resumed.stdout:
            lines.append(line.decode())
            if f"epoch {done + 1}/400" in lines[-1]:
                resumed.terminate()
                break
        else:
            pytest.fail("".join(lines))
    assert not any(f"epoch {done}/400" in line for line in lines)
