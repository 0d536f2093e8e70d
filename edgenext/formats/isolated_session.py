"""Sessions of files of unknown origin, in a process of their own: a native crash becomes an error.

`python -m edgenext.formats.isolated_session` is that process. It reads requests on stdin and
answers on stdout, as `system/messages.py` writes them. The first request opens the file, or asks
what it says of itself (`describe`); `run` and `trace` take a prepared batch. The process ends with
its input or its parent.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import EdgenextError, RuntimeCrashedError
from edgenext.formats.artifact import Artifact, is_written_here
from edgenext.formats.foreign import ForeignFile, describer_of
from edgenext.formats.runtimes import open_session, runtime_of
from edgenext.formats.session import ArtifactSession, Session, Tensor, Traceable
from edgenext.schema import Manifest
from edgenext.system.messages import MessageProcess, error_facts, receive, send
from edgenext.system.processes import die_with_parent, package_path

_log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-m", "edgenext.formats.isolated_session")
"""-P: a file called numpy.py in the user's folder is not imported."""
ANSWER_S = 600.0
"""A runtime without an answer after this time hangs."""


def open_isolated(artifact: Artifact, threads: int, target: str = "") -> Session:
    """Load an artifact, in a process of its own unless this process wrote it.

    A file that this process wrote was run here already, when it was compared with its network.
    Runtimes that are Python, whose modules say `ISOLATED = False`, cannot crash.

    Args:
        artifact: an opened artifact.
        threads: inside an operator.
        target: see `runtimes.runtime_of`.

    Raises:
        ArtifactError: no runtime for the format.
        MissingDependencyError: the runtime is not installed.
        RuntimeCrashedError: the runtime crashed, on this file or on a batch.
        RuntimeFailedError: the runtime rejects the file.
    """
    isolated = getattr(runtime_of(artifact.manifest, target), "ISOLATED", True)
    if not isolated or is_written_here(artifact):
        return open_session(artifact, threads, target)
    process = SessionProcess(artifact, threads, target)
    kind = TraceableIsolatedSession if process.opened["traceable"] else IsolatedSession
    return kind(artifact.manifest, process)


_survived: set[tuple[str, str]] = set()
"""sha256 and target of files that have been run without a crash."""


def require_no_crash(artifact: Artifact, target: str = "") -> None:
    """Run a file once in a process of its own, before its graph is used in this one.

    Other failures are not reported: they follow in this process, with their own message.

    Raises:
        RuntimeCrashedError: the runtime crashed.
    """
    key = (artifact.manifest.sha256, target)
    if key in _survived:
        return
    spec, size = artifact.manifest.input, artifact.manifest.eval.size
    try:
        session = open_isolated(artifact, 1, target)
        if isinstance(session, IsolatedSession):
            sides = spec.shape[1:3] if spec.channels_last else spec.shape[2:4]
            height, width = (side if side > 0 else size for side in sides)
            images = np.zeros((session.batch or 1, height, width, 3), np.uint8)
            session.infer(session.prepare(images))
    except RuntimeCrashedError:
        raise
    except EdgenextError as e:
        _log.debug("%s: %s", artifact.path, e)
    _survived.add(key)


class IsolatedSession(ArtifactSession):
    """An artifact that is loaded in a process of its own."""

    def __init__(self, manifest: Manifest, process: SessionProcess) -> None:
        super().__init__(manifest)
        self._process = process
        opened = process.opened
        self.runtime, self.evidence = opened["runtime"], opened["evidence"]
        self.batch, self.fallback = opened["batch"], opened["fallback"]
        if self.fallback:
            _log.warning("%s: %s", manifest.file, self.fallback)

    def run(self, prepared: NDArray[Any]) -> list[Tensor]:
        """Every output of one prepared batch."""
        return list(self._process.request({"run": True}, prepared)[1].values())


class TraceableIsolatedSession(IsolatedSession):
    """One whose tensors can be read."""

    def trace(self, prepared: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Every float tensor of one prepared batch, by name."""
        return self._process.request({"trace": True}, prepared)[1]


def describe_isolated(path: Path, folder: str) -> ForeignFile:
    """What a file says of itself, read in a process of its own.

    Args:
        path: of the file or package.
        folder: of its format, which has a module `describe`.

    Raises:
        RuntimeCrashedError: the process died or hangs.
        EdgenextError: the file cannot be read.
    """
    process = RuntimeProcess(path.name)
    facts, _ = process.request({"describe": folder, "path": str(path.absolute())})
    return ForeignFile.model_validate(facts)


class RuntimeProcess(MessageProcess):
    """A process that reads or runs one file; it ends when this object is no longer used."""

    def __init__(self, name: str, timeout_s: float = ANSWER_S) -> None:
        variables = os.environ | {"PYTHONPATH": package_path()}
        remedy = "Its runtime crashes on it: export the file again"
        super().__init__(COMMAND, variables, f"the process that runs {name}", remedy, timeout_s)


class SessionProcess(RuntimeProcess):
    """The process of one session."""

    def __init__(
        self, artifact: Artifact, threads: int, target: str, timeout_s: float = ANSWER_S
    ) -> None:
        super().__init__(artifact.path.name, timeout_s)
        job = {
            "path": str(artifact.path.absolute()),
            "manifest": artifact.manifest.model_dump(mode="json"),
            "threads": threads,
            "target": target,
        }
        self.opened, _ = self.request(job)
        """Facts of the session: runtime, evidence, batch, fallback, traceable."""


def serve(requests: IO[bytes], answers: IO[bytes]) -> int:
    """Answer requests until they end."""
    session: Session | None = None
    while message := receive(requests):
        request, arrays = message
        try:
            if "describe" in request:
                file = describer_of(request["describe"]).describe(Path(request["path"]))
                send(answers, file.model_dump(mode="json"), {})
            elif session is None:
                session = _open(request)
                send(answers, _facts(session), {})
            elif "trace" in request:
                send(answers, {}, cast(Traceable, session).trace(arrays[""]))
            else:
                values = session.run(arrays[""])
                send(answers, {}, {str(i): value for i, value in enumerate(values)})
        except BrokenPipeError:
            return 1
        except Exception as e:  # noqa: BLE001 - the parent reports any error of a runtime
            send(answers, {"error": error_facts(e)}, {})
            if session is None:
                return 1
    return 0


def _open(request: Mapping[str, Any]) -> Session:
    manifest = Manifest.model_validate(request["manifest"])
    artifact = Artifact(Path(request["path"]), manifest)
    return open_session(artifact, request["threads"], request["target"])


def _facts(session: Session) -> dict[str, Any]:
    return {
        "runtime": session.runtime,
        "evidence": session.evidence,
        "batch": session.batch,
        "fallback": session.fallback,
        "traceable": isinstance(session, Traceable),
    }


def main() -> int:
    """Serve the parent on stdin and stdout; whatever a runtime prints goes to stderr."""
    # Ctrl-C reaches the whole process group: the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    logging.disable(logging.CRITICAL)  # the parent logs what matters
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    raise SystemExit(main())
