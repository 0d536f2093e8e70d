"""Run a converter in a process of its own: output to a log, time and memory recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.formats.artifact import content_sha256
from edgenext.formats.format import PACKAGE, Converter, Format
from edgenext.schema import Conversion
from edgenext.system.environments import python_for
from edgenext.system.files import cache_folder
from edgenext.system.isolation import call_isolated
from edgenext.system.temporary import scratch_folder

if TYPE_CHECKING:
    import onnx

MAX_CONVERSIONS = 8
"""After as many files of an unsteady compiler that all differ, the last one is taken."""


@dataclass(frozen=True)
class ConversionJob:
    """Which converter runs, and its input besides the graph.

    `options` are plain JSON; `samples` are inputs for a converter that calibrates, N×H×W×3
    float32; `arrays` the folded network's tensors, for one that builds the network itself.
    """

    format: Format
    converter: Converter
    options: Mapping[str, Any]
    samples: NDArray[Any] | None = None
    arrays: Mapping[str, NDArray[Any]] | None = None


def convert(
    model: onnx.ModelProto, out: Path, job: ConversionJob
) -> tuple[Conversion, dict[str, Any]]:
    """Convert a deployment graph to another format.

    Args:
        model: float or Q/DQ ONNX graph.
        out: path of the file or folder to write.
        job: the converter and its other input.

    Returns:
        The record of the conversion for the manifest, and the converter's own result.

    Raises:
        MissingDependencyError: the package is not installed.
        RuntimeFailedError: the converter failed; the message names its log.
        EdgenextError: of whichever kind the converter itself raises.
    """
    row, converter = job.format, job.converter
    name = converter.extra or row.folder
    python = python_for(converter.needs, name)
    with scratch_folder() as folder:
        graph = folder / "graph.onnx"
        graph.write_bytes(model.SerializeToString(deterministic=True))
        paths = {"graph": str(graph), "out": str(out.absolute())}
        if job.samples is not None:
            paths["samples"] = str(folder / "samples.npy")
            np.save(paths["samples"], job.samples)
        if job.arrays is not None:
            paths["weights"] = str(folder / "weights.npz")
            np.savez(paths["weights"], allow_pickle=False, **job.arrays)
        call = partial(
            call_isolated,
            f"{PACKAGE}.{row.folder}.{converter.module}:convert",
            {**paths, **job.options},
            cache_folder("logs") / f"{out.name}.log",
            f"{row.title}'s converter cannot convert {out.name}",
            python,
        )
        calls = [call()]
        if converter.unsteady:
            contents = [content_sha256(out)]
            while len(set(contents)) == len(contents) < MAX_CONVERSIONS:
                calls.append(call())
                contents.append(content_sha256(out))
    result = calls[-1].result
    conversion = Conversion(
        converter=result["tool"],
        seconds=round(sum(c.seconds for c in calls), 1),
        peak_mb=round(result["peak_mb"], 1),
        notes=tuple(result.get("notes", ())),
    )
    return conversion, result
