"""Decoding many images, in several processes if there are enough of them."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from edgenext.data.decode import DecodedImage, decode_image
from edgenext.data.files import UnreadableError
from edgenext.data.sources import Source, content_hash, open_source
from edgenext.errors import DataError
from edgenext.schema import EvalTransform
from edgenext.system.cpu import usable_cpus
from edgenext.system.processes import package_path

INLINE = 256
"""Fewer images than this are decoded faster than an interpreter starts."""

HEAD = struct.Struct("<BI")
"""Header of each reply of a worker: its kind and its length in bytes."""

PIXELS, BROKEN, CHANGED = range(3)
"""Kinds of replies: pixels and a byte with the kinds of the image, a reason, or nothing."""


@dataclass(frozen=True)
class Item:
    """One image to decode: its path in the source and the hash its bytes had when listed."""

    path: str
    hash: str


def default_workers(most: int = 4) -> int:
    """The number of processors this process may use, at most `most`."""
    return min(usable_cpus(), most)


def decode_all(
    data: Path, items: Sequence[Item], transform: EvalTransform, workers: int
) -> Iterator[DecodedImage | UnreadableError]:
    """Each item decoded, in order, or why it cannot be decoded.

    Raises:
        DataError: a file changed since it was listed, or a worker died.
    """
    workers = 1 if len(items) < INLINE else workers
    if workers == 1:
        source = open_source(data)
        replies: Iterator[tuple[int, bytes]] = (decode_item(source, i, transform) for i in items)
    else:
        replies = _from_processes(data, items, transform, workers)
    for item, (kind, payload) in zip(items, replies, strict=True):
        if kind == CHANGED:
            raise DataError(f"{item.path} in {data} changed while it was read")
        if kind == PIXELS:
            yield DecodedImage(payload[:-1], payload[-1])
        else:
            yield UnreadableError(payload.decode())


def decode_item(source: Source, item: Item, transform: EvalTransform) -> tuple[int, bytes]:
    """A kind of reply and its payload."""
    try:
        encoded = source.read(item.path)
        if content_hash(encoded) != item.hash:
            return CHANGED, b""
        pixels, kinds = decode_image(encoded, transform)
        return PIXELS, pixels.tobytes() + bytes([kinds])
    except UnreadableError as e:
        return BROKEN, str(e).encode(errors="replace")


def _from_processes(
    data: Path, items: Sequence[Item], transform: EvalTransform, workers: int
) -> Iterator[tuple[int, bytes]]:
    """Replies in order; of W workers, the k-th has every W-th item, starting at k."""
    command = [sys.executable, "-m", "edgenext.data.worker"]
    with ExitStack() as stack:
        processes: list[subprocess.Popen[bytes]] = []
        for _ in range(workers):
            # In a new session Ctrl-C reaches only the parent, which ends its workers.
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": package_path()},
                start_new_session=True,
            )
            stack.callback(_end, process)
            processes.append(process)
        for k, process in enumerate(processes):
            job = {
                "data": str(data),
                "items": [(i.path, i.hash) for i in items[k::workers]],
                "transform": transform.model_dump(),
            }
            _send(process, json.dumps(job).encode())
        for n in range(len(items)):
            yield _receive(processes[n % workers])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            cast(IO[bytes], pipe).close()
    process.wait()


def _send(process: subprocess.Popen[bytes], job: bytes) -> None:
    try:
        with cast(IO[bytes], process.stdin) as pipe:
            pipe.write(job)
    except OSError as e:
        raise _died(process) from e


def _receive(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    pipe = cast(IO[bytes], process.stdout)
    head = pipe.read(HEAD.size)
    if len(head) == HEAD.size:
        kind, length = HEAD.unpack(head)
        payload = pipe.read(length)
        if len(payload) == length:
            return kind, payload
    raise _died(process)


def _died(process: subprocess.Popen[bytes]) -> DataError:
    return DataError(
        f"a process that decodes images died (status {process.wait()})",
        "If memory ran out, decode with fewer workers",
    )
