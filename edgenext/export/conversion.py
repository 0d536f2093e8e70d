"""Run a converter in a process of its own: its chatter to a log, its time and memory recorded."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext import errors
from edgenext.environments import lent_package, python_for
from edgenext.errors import EdgenextError, RuntimeFailedError
from edgenext.files import cache_folder, write_bytes
from edgenext.schema import Conversion

if TYPE_CHECKING:
    import onnx

TIMEOUT_S = 1800
"""A conversion takes seconds, on a busy machine minutes."""


def convert(
    model: onnx.ModelProto,
    out: Path,
    converter: str,
    needs: str,
    options: dict[str, Any],
    *,
    samples: NDArray[Any] | None = None,
    arrays: Mapping[str, NDArray[Any]] | None = None,
) -> tuple[Conversion, dict[str, Any]]:
    """Convert a deployment graph to another format.

    Args:
        model: float or Q/DQ ONNX graph.
        out: of the file or folder to write.
        converter: module of `edgenext.export` with a function `convert`.
        needs: the package that it cannot do without.
        options: what the converter is told besides; plain JSON.
        samples: inputs for a converter that calibrates by itself.
        arrays: the folded network's tensors, for one that builds it by itself.

    Returns:
        What is recorded of the conversion, and what the converter said of the file.

    Raises:
        MissingDependencyError: the package is not installed.
        RuntimeFailedError: the converter failed; the message names its log.
        EdgenextError: whatever the converter refuses by itself.
    """
    python = python_for(needs, converter)
    log = cache_folder("logs") / f"{out.name}.log"
    with TemporaryDirectory(prefix="edgenext-") as folder, lent_package() as variables:
        graph, job, result = (Path(folder, n) for n in ("graph.onnx", "job.json", "result.json"))
        graph.write_bytes(model.SerializeToString(deterministic=True))
        given = {"converter": converter, "graph": str(graph), "out": str(out.absolute())}
        if samples is not None:
            given["samples"] = str(Path(folder, "samples.npy"))
            np.save(given["samples"], samples)
        if arrays is not None:
            given["weights"] = str(Path(folder, "weights.npz"))
            np.savez(given["weights"], allow_pickle=False, **arrays)
        job.write_text(json.dumps(given | options))
        start = time.monotonic()
        command = [python, "-m", "edgenext.export.worker", str(job), str(result)]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=variables | {"TMPDIR": folder, "TF_CPP_MIN_LOG_LEVEL": "2"},
            cwd=folder,
        ) as process:
            try:
                said, _ = process.communicate(timeout=TIMEOUT_S)
            except BaseException:
                process.kill()
                raise
        seconds = time.monotonic() - start
        write_bytes(log, said)
        if not result.is_file():
            raise RuntimeFailedError(
                f"{converter} cannot convert {out.name}: {_reason(said, process.returncode)}",
                f"Its whole log is {log}",
            )
        made: dict[str, Any] = json.loads(result.read_text())
    if "error" in made:
        kind: type[EdgenextError] = getattr(errors, made["error"]["kind"])
        raise kind(made["error"]["message"], made["error"]["remedy"])
    conversion = Conversion(
        converter=made["tool"],
        seconds=round(seconds, 1),
        peak_mb=round(made["peak_mb"], 1),
        notes=tuple(made.get("notes", ())),
    )
    return conversion, made


def _reason(said: bytes, code: int) -> str:
    """The last line that speaks of an error, else the last line, else how the process ended."""
    lines = [x.strip() for x in said.decode(errors="replace").splitlines() if x.strip()]
    if code < 0:
        return f"killed by signal {-code}" + (": too little memory?" if code == -9 else "")
    return next(
        (x for x in reversed(lines) if "Error" in x), lines[-1] if lines else f"exit {code}"
    )
