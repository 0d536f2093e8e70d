"""Converted files, shared between the tests of a session: a conversion takes half a minute."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from edgenext.formats import conversion
from edgenext.system.files import sha256_file
from edgenext.system.isolation import IsolatedCall, call_isolated

INPUTS = ("graph", "samples", "weights")
"""Paths of a job whose files decide its result."""

RECORD = "call.json"


class SharedConversions:
    """Does a conversion once for all workers, in `folder`; a repeated one copies its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fresh = False

    @contextmanager
    def fresh(self) -> Iterator[None]:
        """Within this block every conversion is done."""
        self._fresh = True
        try:
            yield
        finally:
            self._fresh = False

    def call(
        self, function: str, job: Mapping[str, Any], log: Path, failure: str, python: str
    ) -> IsolatedCall:
        """As `call_isolated`."""
        out = Path(job["out"])
        if self._fresh:
            return call_isolated(function, job, log, failure, python)
        kept = self._folder / _key(function, job, python)
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{kept}.lock"):
            if not kept.is_dir():
                done = call_isolated(function, job, log, failure, python)
                files = out.parent.glob(f"{out.stem}.*")  # an .xml has a .bin beside it
                folder = kept.with_suffix(".tmp")
                folder.mkdir()
                for file in files:
                    _copy(file, folder / file.name)
                record = {"result": done.result, "seconds": done.seconds}
                (folder / RECORD).write_text(json.dumps(record))
                folder.rename(kept)
                return done
        for file in kept.iterdir():
            if file.name != RECORD:
                _copy(file, out.with_name(file.name))
        record = json.loads((kept / RECORD).read_text())
        return IsolatedCall(record["result"], "", record["seconds"])


def _key(function: str, job: Mapping[str, Any], python: str) -> str:
    """What decides the result; the file's name is part of some formats."""
    values = dict(job) | {name: sha256_file(Path(job[name])) for name in INPUTS if name in job}
    values["out"] = Path(job["out"]).name
    text = json.dumps([function, python, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def share_conversions(folder: Path) -> Iterator[SharedConversions]:
    """The converters of this process, shared while the generator is open."""
    shared = SharedConversions(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "call_isolated", shared.call)
        yield shared
