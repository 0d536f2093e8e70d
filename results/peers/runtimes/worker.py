"""The benchmark's worker with a runtime of this folder: `python worker.py MODULE`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edgenext.benchmark import worker
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import logits as logits_of
from edgenext.schema import Manifest


def logits(job: dict[str, Any]) -> dict[str, Any]:
    """Run a file on images, in a process of its own.

    Args:
        job: `module` of this folder; `path` and `manifest` of the file; `images`, the .npy of
            N×H×W×3 uint8; `out`, the .npy of N×K float32 to write; `threads`.
    """
    artifact = Artifact(Path(job["path"]), Manifest.model_validate(job["manifest"]))
    session = import_module(job["module"]).open_session(artifact, job["threads"])
    np.save(job["out"], np.concatenate(list(logits_of(session, np.load(job["images"])))))
    return {"runtime": session.runtime}


if __name__ == "__main__":
    raise SystemExit(worker.main(import_module(sys.argv[1])))
