"""A Dask scheduler and workers on loopback, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

PATIENCE_S = 60.0
HOST = "127.0.0.1"


class Cluster:
    """A scheduler, and the workers that were started for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind((HOST, 0))
            port = free.getsockname()[1]
        self.address = f"tcp://{HOST}:{port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.start("scheduler", "dask_scheduler", "--port", str(port))
        self.until(lambda: "Scheduler at" in self.log("scheduler"), "a scheduler")

    def worker(self, name: str, *options: str, **variables: str) -> int:
        """Start a worker with one thread, whose process is not started again; its pid."""
        one = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder / name))
        self.start(name, "dask_worker", self.address, *one, *options, **variables)
        self.until(lambda: "Registered to" in self.log(name), name)
        return self.processes[name].pid

    def start(self, name: str, module: str, *arguments: str, **variables: str) -> None:
        """Start a process of Dask."""
        own = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"} | variables
        command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*command, "--host", HOST, "--no-dashboard"],
                env=os.environ | own,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def log(self, name: str) -> str:
        """What a process has said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def until(self, happened: Callable[[], Any], what: str) -> None:
        """Wait for something that the processes do."""
        end = time.monotonic() + PATIENCE_S
        while not happened():
            logs = {name: self.log(name)[-2000:] for name in self.processes}
            assert time.monotonic() < end, f"never: {what}: {logs}"
            time.sleep(0.02)

    def kill(self, name: str) -> None:
        """SIGKILL a process and what it has started."""
        process = self.processes.pop(name)
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        process.kill()
        process.wait()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A scheduler without workers; all its processes end with the block."""
    folder.mkdir(exist_ok=True)
    running = Cluster(folder)
    try:
        yield running
    finally:
        for name in list(running.processes):
            running.kill(name)
