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
"""Inferences in each of the two medians that the warm-up compares."""


class ArtifactWorker:
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
        self.kind = MODELS.get(self.artifact["runtime"])
        if self.kind is None:
            raise JobError("the runner has no runtime %s" % self.artifact["runtime"])
        self.library = self.kind.library()
        gc.collect()
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        self.empty = peak_kib()
        self.model = None

    def packages(self):
        """The versions of the packages it runs with."""
        import numpy as np

        return {"numpy": np.__version__, self.kind.package: version(self.library)}

    @property
    def batch(self):
        """The artifact's fixed batch, or else the job's."""
        fixed = self.artifact["input"]["shape"][0]
        return fixed if fixed > 0 else self.job["batch"]

    def noise(self):
        """Seeded noise, batch×H×W×3 uint8: the same for every artifact of one size."""
        import numpy as np

        shape = self.artifact["input"]["shape"]
        height, width = shape[1:3] if shape[3] == 3 else shape[2:4]
        rng = np.random.RandomState(self.job["seed"])
        return rng.randint(0, 256, (self.batch, height, width, 3)).astype(np.uint8)

    def placement(self):
        """Operators by unit, from a session that ends with this process."""
        threads, noise = self.job["threads"], self.noise()
        return {"units": self.kind.placement(self.path, self.artifact, threads, noise, self.job)}

    def load(self):
        """Load the artifact and warm it up."""
        start = time.perf_counter()
        self.model = self.kind(self.path, self.artifact, self.job["threads"])
        load_ms = 1000 * (time.perf_counter() - start)
        prepared = prepare(self.noise(), self.artifact["input"], self.job)
        self.infer = lambda: self.model.infer(prepared)
        first_ms = self.timed()
        gc.collect()
        gc.disable()
        warm = self.warm_up()
        sample_ms = max(statistics.median(warm[-WINDOW:]), 1e-6)
        burst = max(MIN_BURST, min(MAX_BURST, math.ceil(self.job["burst_ms"] / sample_ms)))
        return {
            "ready": dict(
                self.model.precision,
                runtime=self.model.runtime,
                batch=self.batch,
                burst=burst,
                cpus=self.cpus,
                load_ms=load_ms,
                first_ms=first_ms,
                warmup=len(warm),
                settled=self.settled(warm),
            ),
            "unit": self.model.unit,
            "partitions": self.model.partitions,
        }

    def timed(self):
        """Wall time of one inference in ms."""
        start = time.perf_counter()
        self.infer()
        return max(1000 * (time.perf_counter() - start), 1e-6)

    def settled(self, samples):
        """Whether the median of the last inferences is within 2 % of the median before them."""
        if len(samples) < max(self.job["min_warmup"], 2 * WINDOW):
            return False
        before = statistics.median(samples[-2 * WINDOW : -WINDOW])
        last = statistics.median(samples[-WINDOW:])
        return abs(last - before) < self.job["settled"] * before

    def warm_up(self):
        """Times of inferences in ms until they settle, or to the limits of the job."""
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
        """Run inferences without a pause; their number and duration."""
        start, n = time.monotonic(), 0
        while time.monotonic() - start < seconds:
            self.infer()
            n += 1
        return {"seconds": time.monotonic() - start, "inferences": n}

    def logits(self, folder):
        """Append the logits of all images to the artifact's file; yield how many are done."""
        import numpy as np

        gc.enable()
        if self.model is None:
            self.model = self.kind(self.path, self.artifact, self.job["threads"])
        spec = self.job["images"]
        path = os.path.join(folder, spec["file"])
        images = np.memmap(path, np.uint8, "r", shape=tuple(spec["shape"]))
        name = "logits-%s.f32" % self.artifact["sha256"]
        done, total = 0, len(images)
        with open(name, "ab") as file:
            while done < total:
                chunk = np.asarray(images[done : done + self.batch])
                n = len(chunk)
                chunk = np.resize(chunk, (self.batch,) + chunk.shape[1:])
                logits = np.asarray(
                    self.model.infer(prepare(chunk, self.artifact["input"], self.job)), "<f4"
                ).reshape(self.batch, -1)
                row = 4 * logits.shape[1]
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
                file.write(logits[:n].tobytes())
                file.flush()
                done += n
                yield done, total
            os.fsync(file.fileno())

    def peak(self):
        """Peak memory less the empty runtime's, in MiB."""
        return {"peak_rss_mb": max(peak_kib() - self.empty, 0) / 1024}


def serve(job_path, folder, index):
    """Answer the calls of the parent, one a line, until its lines end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a runtime prints goes to stderr

    def answer(value):
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        with open(job_path) as file:
            job = json.load(file)
        worker = ArtifactWorker(job, folder, int(index))
        for line in sys.stdin:
            method, arguments = json.loads(line)
            if method == "logits":
                for done, total in worker.logits(folder):
                    answer({"done": done, "total": total})
            else:
                answer(getattr(worker, method)(*arguments))
    except MemoryError:
        answer({"error": "the device has too little memory"})
    except JobError as e:
        answer({"error": str(e)})
    except Exception as e:  # noqa: BLE001 - the parent reports any error of a runtime
        answer({"error": "%s: %s" % (type(e).__name__, " ".join(str(e).split())[:500])})
    return 0
