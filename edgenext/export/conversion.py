"""Run a converter in a process of its own: its chatter to a log, its time and memory recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.environments import python_for
from edgenext.files import cache_folder
from edgenext.isolation import isolated
from edgenext.schema import Conversion

if TYPE_CHECKING:
    import onnx


def convert(
    model: onnx.ModelProto,
    out: Path,
    converter: str,
    needs: str,
    options: dict[str, Any],
    *,
    extra: str = "",
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
        extra: the environment or extra that brings the package; the converter's name unless given.
        samples: inputs for a converter that calibrates by itself.
        arrays: the folded network's tensors, for one that builds it by itself.

    Returns:
        What is recorded of the conversion, and what the converter said of the file.

    Raises:
        MissingDependencyError: the package is not installed.
        RuntimeFailedError: the converter failed; the message names its log.
        EdgenextError: whatever the converter refuses by itself.
    """
    python = python_for(needs, extra or converter)
    with TemporaryDirectory(prefix="edgenext-") as folder:
        graph = Path(folder, "graph.onnx")
        graph.write_bytes(model.SerializeToString(deterministic=True))
        given = {"graph": str(graph), "out": str(out.absolute())}
        if samples is not None:
            given["samples"] = str(Path(folder, "samples.npy"))
            np.save(given["samples"], samples)
        if arrays is not None:
            given["weights"] = str(Path(folder, "weights.npz"))
            np.savez(given["weights"], allow_pickle=False, **arrays)
        outcome = isolated(
            f"edgenext.export.{converter}:convert",
            given | options,
            cache_folder("logs") / f"{out.name}.log",
            f"{converter} cannot convert {out.name}",
            python,
        )
    made = outcome.result
    conversion = Conversion(
        converter=made["tool"],
        seconds=round(outcome.seconds, 1),
        peak_mb=round(made["peak_mb"], 1),
        notes=tuple(made.get("notes", ())),
    )
    return conversion, made
