"""The processes of the artifacts and of the sensors' program."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

from .errors import JobError

SENSORS = "sensors.jsonl"


class ArtifactProcess:
    """The process of one artifact."""

    def __init__(self, job_path, folder, index, job):
        self.artifact = job["artifacts"][index]
        count = str(job["threads"])
        threads = {"OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
        self.process = subprocess.Popen(
            [
                sys.executable,
                os.path.abspath(sys.argv[0]),
                "--worker",
                job_path,
                folder,
                str(index),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            universal_newlines=True,
            env=dict(os.environ, **threads),
        )

    def call(self, method, *arguments):
        """The answer of a method of the process's `ArtifactWorker`."""
        self.send(method, *arguments)
        return self.receive()

    def send(self, method, *arguments):
        """Call a method without waiting for the answer."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps([method, arguments]) + "\n")
            self.process.stdin.flush()

    def receive(self):
        """The next answer."""
        line = self.process.stdout.readline()
        name = self.artifact["name"]
        if not line:
            code = self.process.wait()
            if code == -signal.SIGKILL:
                raise JobError("%s was killed: the device may have run out of memory" % name)
            status = "signal %d" % -code if code < 0 else "exit code %d" % code
            raise JobError("the process that runs %s ended with %s" % (name, status))
        answer = json.loads(line)
        if "error" in answer:
            raise JobError("%s: %s" % (name, answer["error"]))
        return answer

    def suspend(self, stop):
        """Stop or resume it: its idle threads would spin while another artifact runs."""
        os.kill(self.process.pid, signal.SIGSTOP if stop else signal.SIGCONT)

    def close(self):
        """Kill it."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Sensors:
    """Records lines of the device's sensors, each with the time and a label, in a file."""

    def __init__(self, argv):
        self.label = "idle"
        self.process = None
        if argv:
            try:
                self.process = subprocess.Popen(
                    argv, stdout=subprocess.PIPE, universal_newlines=True, errors="replace"
                )
            except OSError:
                return
            threading.Thread(target=self.record, daemon=True).start()

    def record(self):
        """Write the program's lines to the file."""
        with open(SENSORS, "w") as file:
            for line in self.process.stdout:
                row = {"t": time.monotonic(), "during": self.label, "line": line.rstrip("\n")}
                file.write(json.dumps(row) + "\n")
                file.flush()

    def close(self):
        """Kill the program."""
        if self.process:
            self.process.kill()
            self.process.wait()
