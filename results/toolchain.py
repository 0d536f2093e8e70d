"""What each command costs: seconds and peak memory, over networks, images and candidates."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from inputs import SIZE, train_images, val_images

MODELS = ("edgenext_xx_small", "edgenext_x_small", "edgenext_small", "edgenext_base")
IMAGES = (100, 1_000, 5_000, 50_000)
PHOTOS = 128
MEASURE = """
import json, os, sys, time
start = time.perf_counter()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
_, status, usage = os.wait4(process, 0)
print(json.dumps({
    "seconds": round(time.perf_counter() - start, 2),
    "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
    "peak_mb": round(usage.ru_maxrss / 1024),
    "exit": os.waitstatus_to_exitcode(status),
}))
"""
"""Runs a command and prints what it cost."""


def toolchain(data: Path, weights: Path, folder: Path) -> list[dict[str, Any]]:
    """A row for each command: what it did, its seconds, and the MiB of its largest process."""
    rows: list[dict[str, Any]] = []

    def measure(name: str, size: str, *arguments: object) -> None:
        rows.append({"command": name, "of": size} | cost(folder, *arguments))
        print(rows[-1], flush=True)

    measure("--help", "", "--help")
    photos = data / "imagenet-sample.zip"
    random = ("--random-weights", "--size", SIZE)
    for model in MODELS:
        measure("export", model, "export", model, *random, "-o", "files")
        calib = ("--calib", photos, "-n", PHOTOS)
        measure("quantize", model, "quantize", model, *random, *calib, "-o", "files")
    trained = ("--weights", weights)
    measure("quantize, 64 px", MODELS[0], "quantize", *trained, "--calib", train_images(data))
    stem = f"{weights.stem}-64"
    measure("export, 64 px", MODELS[0], "export", *trained)
    repeated = repeat(val_images(data), folder / "many.zip", max(IMAGES))
    files = (f"{stem}-fp32.onnx", f"{stem}-w8a8-static.onnx")
    for n in IMAGES:
        source = repeated if n > 5_000 else val_images(data)
        compared = ("compare", *files, "--data", source, "--limit", n)
        for state in ("decoding", "decoded"):
            measure(f"compare, {state}", f"{n} images", *compared)
    measure("bench", "2 files", "bench", *files)
    measure("demo", "", "demo")
    measure("demo, nothing changed", "", "demo")
    return rows


def cost(folder: Path, *arguments: object) -> dict[str, Any]:
    """Seconds and peak memory of a command, its children included; its exit code.

    A small process starts it: the kernel counts the memory of whoever starts a process as its own.
    """
    environment = os.environ | {"EDGENEXT_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "edgenext", *map(str, arguments)]
    done = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def repeat(archive: Path, out: Path, n: int) -> Path:
    """A zip of n images: those of another with a byte behind each, so that all differ."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(out, "w") as target:
        names = [name for name in source.namelist() if name.lower().endswith((".jpg", ".jpeg"))]
        for i in range(n):
            name = names[i % len(names)]
            copy, ending = name.rsplit(".", 1)
            turn = i // len(names)
            target.writestr(f"{copy}-{turn}.{ending}", source.read(name) + bytes([turn]))
    shutil.copymode(archive, out)
    return out
