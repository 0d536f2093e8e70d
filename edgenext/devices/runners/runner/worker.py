"""One artifact in this process."""

import contextlib
import gc
import json
import math
import os
import signal
import statistics
import sys
import time

from .errors import JobError
from .machine import choose_cpus, peak_kib
from .models import MODELS, prepare, version

MIN_BURST, MAX_BURST = 3, 400
WINDOW = 5
"""Inferences in each of the two medians that are compared before it is warm."""


class Worker:
    """One artifact in this process."""

    def __init__(self, job, folder, index):
        self.job, self.artifact = job, job["artifacts"][index]
        self.path = os.path.join(folder, self.artifact["file"])
        self.cpus = choose_cpus(job["threads"])
        if self.cpus:
            try:
                os.sched_setaffinity(0, self.cpus)
            except OSError:
                self.cpus = []
        self.kind = MODELS.get(self.artifact["format"])
        if self.kind is None:
            raise JobError("%s files do not run in Python here" % self.artifact["format"])
        self.library = self.kind.library()
        gc.collect()
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        self.empty = peak_kib()
        self.model = None

    def packages(self):
        """The versions of what it runs with."""
        import numpy as np

        return {"numpy": np.__version__, self.kind.package: version(self.library)}

    @property
    def batch(self):
        """The batch it runs: its own, or the one asked for."""
        fixed = self.artifact["input"]["shape"][0]
        return fixed if fixed > 0 else self.job["batch"]

    def noise(self):
        """Seeded noise, batch×H×W×3 uint8, as every artifact of this size gets it."""
        import numpy as np

        shape = self.artifact["input"]["shape"]
        height, width = shape[1:3] if shape[3] == 3 else shape[2:4]
        rng = np.random.RandomState(self.job["seed"])
        return rng.randint(0, 256, (self.batch, height, width, 3)).astype(np.uint8)

    def placement(self):
        """Operators by unit, from a session of its own that ends with this process."""
        threads, noise = self.job["threads"], self.noise()
        return {"units": self.kind.placement(self.path, self.artifact, threads, noise, self.job)}

    def load(self):
        """Load and warm it up."""
        start = time.perf_counter()
        self.model = self.kind(self.path, self.artifact, self.job["threads"])
        load_ms = 1000 * (time.perf_counter() - start)
        prepared = prepare(self.noise(), self.artifact["input"], self.job)
        self.infer = lambda: self.model.infer(prepared)
        first_ms = self.timed()
        gc.collect()
        gc.disable()
        warm = self.warm_up()
        one = max(statistics.median(warm[-WINDOW:]), 1e-6)
        burst = max(MIN_BURST, min(MAX_BURST, math.ceil(self.job["burst_ms"] / one)))
        return {
            "ready": {
                "runtime": self.model.runtime,
                "batch": self.batch,
                "burst": burst,
                "cpus": self.cpus,
                "load_ms": load_ms,
                "first_ms": first_ms,
                "warmup": len(warm),
                "settled": self.settled(warm),
            },
            "unit": self.model.unit,
            "partitions": self.model.partitions,
        }

    def timed(self):
        """Wall time of one inference in ms."""
        start = time.perf_counter()
        self.infer()
        return max(1000 * (time.perf_counter() - start), 1e-6)

    def settled(self, samples):
        """Whether the median of the last inferences is within 2 % of that of those before."""
        if len(samples) < max(self.job["min_warmup"], 2 * WINDOW):
            return False
        before = statistics.median(samples[-2 * WINDOW : -WINDOW])
        last = statistics.median(samples[-WINDOW:])
        return abs(last - before) < self.job["settled"] * before

    def warm_up(self):
        """Times of inferences in ms until they come to rest, or there were enough."""
        samples, end = [], time.monotonic() + self.job["max_warmup_s"]
        while not self.settled(samples):
            late = len(samples) >= self.job["max_warmup"] or time.monotonic() > end
            if late and len(samples) >= self.job["min_warmup"]:
                break
            samples.append(self.timed())
        return samples

    def burst(self, n):
        """Wall times of n inferences in ms, after one that is not counted."""
        self.infer()
        return {"samples_ms": [self.timed() for _ in range(n)]}

    def run_for(self, seconds):
        """How many inferences were made without a pause, and in how many seconds."""
        start, n = time.monotonic(), 0
        while time.monotonic() - start < seconds:
            self.infer()
            n += 1
        return {"seconds": time.monotonic() - start, "inferences": n}

    def logits(self, folder):
        """Yield how many images are done: their logits are appended to the artifact's file."""
        import numpy as np

        gc.enable()
        if self.model is None:
            self.model = self.kind(self.path, self.artifact, self.job["threads"])
        about = self.job["images"]
        path = os.path.join(folder, about["file"])
        every = np.memmap(path, np.uint8, "r", shape=tuple(about["shape"]))
        name = "logits-%s.f32" % self.artifact["sha256"]
        done, total = 0, len(every)
        with open(name, "ab") as file:
            while done < total:
                chunk = np.asarray(every[done : done + self.batch])
                n = len(chunk)
                chunk = np.resize(chunk, (self.batch,) + chunk.shape[1:])
                part = np.asarray(
                    self.model.infer(prepare(chunk, self.artifact["input"], self.job)), "<f4"
                )
                row = 4 * part.shape[1]
                written = file.tell() // row
                if done == 0 and written >= n:
                    done = written  # by an earlier attempt
                    file.truncate(row * done)
                    file.seek(0, os.SEEK_END)
                    yield done, total
                    continue
                if done == 0:
                    file.truncate(0)
                    file.seek(0)
                file.write(part[:n].tobytes())
                file.flush()
                done += n
                yield done, total
            os.fsync(file.fileno())

    def peak(self):
        """Peak memory less the empty runtime's, in MiB."""
        return {"peak_rss_mb": max(peak_kib() - self.empty, 0) / 1024}


def serve(job_path, folder, index):
    """Answer the parent's lines until they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a runtime prints goes to stderr

    def answer(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        with open(job_path) as file:
            job = json.load(file)
        worker = Worker(job, folder, int(index))
        for line in sys.stdin:
            asked, argument = json.loads(line)
            if asked == "logits":
                for done, total in worker.logits(folder):
                    answer({"done": done, "total": total})
            else:
                answer(getattr(worker, asked)(*argument))
    except MemoryError:
        answer({"error": "the device has not enough memory for it"})
    except JobError as e:
        answer({"error": str(e)})
    except Exception as e:  # noqa: BLE001 - whatever a runtime raises is the parent's to report
        answer({"error": "%s: %s" % (type(e).__name__, " ".join(str(e).split())[:500])})
    return 0
