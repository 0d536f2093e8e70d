"""A whole job: all artifacts in turn, then their logits."""

import contextlib
import json
import os
import sys
import time

from .errors import JobError
from .machine import busy_seconds, choose_cpus, clock_mhz, environment, process_seconds
from .models import UNITS
from .processes import Process, Sensors
from .worker import serve

RESULTS = "results.jsonl"
LATENCY_DONE = "latency.done"
PROGRESS_S = 2.0
"""Between two events about logits."""


class Run:
    """A whole job."""

    def __init__(self, job_path, folder):
        with open(job_path) as file:
            self.job = json.load(file)
        self.job_path, self.folder = job_path, folder
        self.results = open(RESULTS, "a")
        self.cpus = choose_cpus(self.job["threads"])

    def emit(self, event, **values):
        """One line of the results."""
        self.results.write(json.dumps(dict(values, event=event)) + "\n")
        self.results.flush()

    def start(self, index):
        """The process of one artifact."""
        return Process(self.job_path, self.folder, index, self.job)

    def measure(self):
        """Everything that is not done yet."""
        with contextlib.ExitStack() as stack:
            processes, packages = [], {}
            for index in range(len(self.job["artifacts"])):
                process = self.start(index)
                stack.callback(process.close)
                packages.update(process.ask("packages"))
                processes.append(process)
            self.emit(
                "start",
                protocol=self.job["protocol"],
                job=self.job["job"],
                environment=environment(packages),
            )
            if not os.path.exists(LATENCY_DONE):
                self.latencies(processes)
                open(LATENCY_DONE, "w").close()
            if self.job.get("images"):
                for process in processes:
                    self.logits(process)
                    process.close()
        self.emit("done")

    def latencies(self, processes):
        """Load all, then rounds in turn, then the sensors; they are left suspended."""
        placed = [self.placement(index) for index in range(len(processes))]
        sensors = Sensors(self.job.get("sensor"))
        try:
            if sensors.process:
                time.sleep(self.job["sensor_s"])
            loaded = []
            for process, units in zip(processes, placed):
                told = process.ask("load")
                sha256 = process.artifact["sha256"]
                self.emit("ready", artifact=sha256, units=units, **told)
                loaded.append((process, sha256, told["ready"]["burst"]))
                process.suspend(True)
            self.rounds(loaded, sensors)
            for process, sha256, _ in loaded:
                process.suspend(False)
                self.emit("peak", artifact=sha256, **process.ask("peak"))
                process.suspend(True)
        finally:
            sensors.close()

    def placement(self, index):
        """One artifact's operators by unit, from a process that ends with the question."""
        if not UNITS.get(self.job["artifacts"][index]["unit"]):
            return {}  # a CPU leaves nothing to others
        process = self.start(index)
        try:
            return process.ask("placement")["units"]
        finally:
            process.close()

    def rounds(self, processes, sensors):
        """Bursts A B C A B C …, and what else the machine did meanwhile."""
        pids = [os.getpid()] + [process.process.pid for process, _, _ in processes]
        start = time.monotonic()
        (busy, stolen), own = busy_seconds(self.cpus), process_seconds(pids)
        clocks, done = [], 0
        while done < self.job["rounds"] or time.monotonic() - start < self.job["sustained_s"]:
            for process, sha256, burst in processes:
                process.suspend(False)
                sensors.label = sha256
                told = process.ask("burst", burst)
                sensors.label = "between"
                process.suspend(True)
                at_s = time.monotonic() - start
                self.emit("round", artifact=sha256, round=done, at_s=at_s, **told)
            clock = clock_mhz(self.cpus)
            if clock:
                clocks.append(clock)
            done += 1
        wall = max(time.monotonic() - start, 1e-9)
        (busy2, stolen2), own2 = busy_seconds(self.cpus), process_seconds(pids)
        cores = os.cpu_count() or 1
        self.emit(
            "conditions",
            cores=cores,
            others=max(busy2 - busy - (own2 - own), 0.0) / wall,
            stolen=max(stolen2 - stolen, 0.0) / (wall * (len(self.cpus) or cores)),
            clocks_mhz=clocks,
        )
        if sensors.process and self.job["sensor_s"]:
            for process, sha256, _ in processes:
                process.suspend(False)
                sensors.label = "load " + sha256
                told = process.ask("run_for", self.job["sensor_s"])
                sensors.label = "between"
                process.suspend(True)
                self.emit("load", artifact=sha256, **told)

    def logits(self, process):
        """Logits of all images, with a word from time to time."""
        process.suspend(False)
        process.tell("logits")
        sha256, last, done, total = process.artifact["sha256"], 0.0, 0, -1
        while done != total:
            told = process.hear()
            done, total = told["done"], told["total"]
            if done == total or time.monotonic() - last > PROGRESS_S:
                self.emit("logits", artifact=sha256, done=done, total=total)
                last = time.monotonic()


def main(arguments):
    """0 when all was done; else the reason is the last line on stderr, and an event."""
    if arguments[:1] == ["--worker"]:
        return serve(*arguments[1:])
    run = Run(*arguments)
    try:
        run.measure()
    except JobError as e:
        run.emit("error", message=str(e))
        sys.stderr.write("%s\n" % e)
        return 1
    return 0
