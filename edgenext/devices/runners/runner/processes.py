"""The processes beside this one: those of the artifacts, and the sensors' program."""

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


class Process:
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

    def ask(self, what, *argument):
        """The answer to one question."""
        self.tell(what, *argument)
        return self.hear()

    def tell(self, what, *argument):
        """Ask without waiting."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps([what, argument]) + "\n")
            self.process.stdin.flush()

    def hear(self):
        """The next answer."""
        line = self.process.stdout.readline()
        name = self.artifact["name"]
        if not line:
            code = self.process.wait()
            if code == -signal.SIGKILL:
                raise JobError("%s was killed: the device may have run out of memory" % name)
            how = "signal %d" % -code if code < 0 else "exit code %d" % code
            raise JobError("the process that runs %s ended with %s" % (name, how))
        answer = json.loads(line)
        if "error" in answer:
            raise JobError("%s: %s" % (name, answer["error"]))
        return answer

    def suspend(self, stop):
        """Idle threads spin: they must not while another artifact runs."""
        os.kill(self.process.pid, signal.SIGSTOP if stop else signal.SIGCONT)

    def close(self):
        """End it."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Sensors:
    """Lines of the device's sensors, each with the time and what ran, in a file of their own."""

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
            threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        """Write down what comes."""
        with open(SENSORS, "w") as file:
            for line in self.process.stdout:
                row = {"t": time.monotonic(), "during": self.label, "line": line.rstrip("\n")}
                file.write(json.dumps(row) + "\n")
                file.flush()

    def close(self):
        """End the program."""
        if self.process:
            self.process.kill()
            self.process.wait()
