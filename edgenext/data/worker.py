"""A process that decodes images: ``python -m edgenext.data.worker``.

A fresh interpreter, so that it knows nothing of its parent's script, threads and locks. It reads
one JSON job from stdin and writes the answers, in order, to stdout.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from edgenext.data.pool import HEAD, Item, answer
from edgenext.data.sources import open_source
from edgenext.schema import EvalTransform


def main() -> None:
    """Answer the job on stdin."""
    job = json.load(sys.stdin)
    source = open_source(Path(job["data"]))
    transform = EvalTransform.model_validate(job["transform"])
    out = sys.stdout.buffer
    try:
        for path, digest in job["items"]:
            kind, payload = answer(source, Item(path, digest), transform)
            out.write(HEAD.pack(kind, len(payload)) + payload)
        out.flush()
    except BrokenPipeError:  # the parent is gone: nobody is left to answer
        os._exit(1)


if __name__ == "__main__":
    main()
