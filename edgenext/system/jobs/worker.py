"""A process that does jobs: `python -m edgenext.system.jobs.worker`.

It reads jobs on stdin and answers on stdout, as `system/messages.py` writes them, and ends with its
input or its parent.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from dataclasses import asdict
from typing import IO, Any

import numpy as np

from edgenext.system.jobs.job import Job, JobError, Outcome, WorkerTerms, run_job
from edgenext.system.messages import Arrays, receive, send
from edgenext.system.processes import die_with_parent


def request_of(job: Job, terms: WorkerTerms) -> dict[str, Any]:
    """A job as a message."""
    return {"job": asdict(job), "terms": asdict(terms)}


def outcome_of(facts: dict[str, Any], arrays: Arrays) -> Outcome:
    """The outcome in an answer."""
    values = dict(facts["outcome"])
    if values["error"]:
        values["error"] = JobError(**values["error"])
    values["lacking"] = tuple(values["lacking"])
    return Outcome(**values, files={name: array.tobytes() for name, array in arrays.items()})


def serve(requests: IO[bytes], answers: IO[bytes]) -> int:
    """Do jobs until there are no more."""
    while message := receive(requests):
        request, _ = message
        job, terms = request["job"], request["terms"]
        job["trees"], terms["folders"] = tuple(job["trees"]), tuple(terms["folders"])
        outcome = run_job(Job(**job), WorkerTerms(**terms))
        facts = {name: value for name, value in asdict(outcome).items() if name != "files"}
        files = {name: np.frombuffer(data, np.uint8) for name, data in outcome.files.items()}
        try:
            send(answers, {"outcome": facts}, files)
        except BrokenPipeError:
            return 1
    return 0


def main() -> int:
    """Serve the parent; whatever a job prints goes to stderr."""
    # Ctrl-C reaches the whole process group: the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    logging.disable(logging.CRITICAL)  # what matters is in the outcome
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    raise SystemExit(main())
