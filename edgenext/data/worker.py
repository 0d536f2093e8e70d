"""A process that decodes images: ``python -m edgenext.data.worker``.

A fresh interpreter shares no script, threads or locks with its parent. It reads one JSON job from
stdin and writes the replies to stdout, in order.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from edgenext.data.pool import HEAD, Item, decode_item
from edgenext.data.sources import open_source
from edgenext.schema import EvalTransform


def main() -> None:
    """Run the job on stdin."""
    job = json.load(sys.stdin)
    source = open_source(Path(job["data"]))
    transform = EvalTransform.model_validate(job["transform"])
    out = sys.stdout.buffer
    try:
        for path, digest in job["items"]:
            kind, payload = decode_item(source, Item(path, digest), transform)
            out.write(HEAD.pack(kind, len(payload)) + payload)
        out.flush()
    except BrokenPipeError:  # the parent has ended
        os._exit(1)


if __name__ == "__main__":
    main()
