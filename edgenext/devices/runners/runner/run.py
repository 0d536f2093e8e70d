"""A job: latency of all artifacts in turn, then their logits."""

import contextlib
import json
import os
import sys
import time

from .errors import JobError
from .machine import busy_seconds, choose_cpus, clock_mhz, environment, process_seconds
from .models import UNITS
from .processes import ArtifactProcess, Sensors
from .worker import serve

RESULTS = "results.jsonl"
LATENCY_DONE = "latency.done"
PROGRESS_S = 2.0
"""The time between two events about logits."""


class JobRun:
    """The run of one job."""

    def __init__(self, job_path, folder):
        with open(job_path) as file:
            self.job = json.load(file)
        self.job_path, self.folder = job_path, folder
        self.results = open(RESULTS, "a")
        self.cpus = choose_cpus(self.job["threads"])

    def emit(self, event, **values):
        """Append an event to the results."""
        self.results.write(json.dumps(dict(values, event=event)) + "\n")
        self.results.flush()

    def start(self, index):
        """The process of one artifact."""
        return ArtifactProcess(self.job_path, self.folder, index, self.job)

    def measure(self):
        """Measure what an earlier attempt has not."""
        with contextlib.ExitStack() as stack:
            processes, packages = [], {}
            for index in range(len(self.job["artifacts"])):
                process = self.start(index)
                stack.callback(process.close)
                packages.update(process.call("packages"))
                processes.append(process)
            self.emit(
                "start",
                protocol=self.job["protocol"],
                job=self.job["job"],
                environment=environment(packages),
            )
            if not os.path.exists(LATENCY_DONE):
                second = self.start(0) if self.job.get("repeat_base") else None
                if second:
                    stack.callback(second.close)
                self.latencies(processes, second)
                if second:
                    second.close()
                open(LATENCY_DONE, "w").close()
            if self.job.get("images"):
                for process in processes:
                    self.logits(process)
                    process.close()
        self.emit("done")

    def latencies(self, processes, second):
        """Load all artifacts, then run rounds in turn; the processes are then suspended.

        `second` is a second process of the first artifact, or None.
        """
        placements = [self.placement(index) for index in range(len(processes))]
        sensors = Sensors(self.job.get("sensor"))
        try:
            if sensors.process:
                time.sleep(self.job["sensor_s"])
            loaded = []
            for process, units in zip(processes, placements):
                answer = process.call("load")
                sha256 = process.artifact["sha256"]
                self.emit("ready", artifact=sha256, units=units, **answer)
                loaded.append((process, sha256, answer["ready"]["burst"]))
                process.suspend(True)
            turns = [(process, sha256, burst, {}) for process, sha256, burst in loaded]
            if second:
                answer, sha256 = second.call("load"), second.artifact["sha256"]
                self.emit("ready", artifact=sha256, second=True, **answer)
                turns.append((second, sha256, answer["ready"]["burst"], {"second": True}))
                second.suspend(True)
            self.rounds(turns, sensors)
            self.sensor_load(loaded, sensors)
            for process, sha256, _ in loaded:
                process.suspend(False)
                self.emit("peak", artifact=sha256, **process.call("peak"))
                process.suspend(True)
        finally:
            sensors.close()

    def placement(self, index):
        """One artifact's operators by unit, from a process of its own."""
        if not UNITS.get(self.job["artifacts"][index]["unit"]):
            return {}  # on the CPU there is no other unit
        process = self.start(index)
        try:
            return process.call("placement")["units"]
        finally:
            process.close()

    def rounds(self, turns, sensors):
        """Bursts in the order A B C A B C …, and the conditions of the machine during them."""
        pids = [os.getpid()] + [process.process.pid for process, _, _, _ in turns]
        start = time.monotonic()
        (busy, stolen), own = busy_seconds(self.cpus), process_seconds(pids)
        clocks, done, at_s = [], 0, 0.0
        while done < self.job["rounds"] or at_s < self.job["sustained_s"]:
            for process, sha256, burst, mark in turns:
                process.suspend(False)
                sensors.label = sha256
                answer = process.call("burst", burst)
                sensors.label = "between"
                process.suspend(True)
                at_s = time.monotonic() - start
                self.emit("round", artifact=sha256, round=done, at_s=at_s, **answer, **mark)
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

    def sensor_load(self, loaded, sensors):
        """Run each artifact without a pause while the sensors are read."""
        if sensors.process and self.job["sensor_s"]:
            for process, sha256, _ in loaded:
                process.suspend(False)
                sensors.label = "load " + sha256
                answer = process.call("run_for", self.job["sensor_s"])
                sensors.label = "between"
                process.suspend(True)
                self.emit("load", artifact=sha256, **answer)

    def logits(self, process):
        """Compute the logits of all images, with an event from time to time."""
        process.suspend(False)
        process.send("logits")
        sha256, last, done, total = process.artifact["sha256"], 0.0, 0, -1
        while done != total:
            answer = process.receive()
            done, total = answer["done"], answer["total"]
            if done == total or time.monotonic() - last > PROGRESS_S:
                self.emit("logits", artifact=sha256, done=done, total=total)
                last = time.monotonic()


def main(arguments):
    """Run a job; 0, or 1 after an error, which is an event and the last line on stderr."""
    if arguments[:1] == ["--worker"]:
        return serve(*arguments[1:])
    run = JobRun(*arguments)
    try:
        run.measure()
    except JobError as e:
        run.emit("error", message=str(e))
        sys.stderr.write("%s\n" % e)
        return 1
    return 0
