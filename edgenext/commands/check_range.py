"""Whether anything that a file computes can leave its type, for any image."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgenext.commands.context import Context
from edgenext.commands.images import calibration_images
from edgenext.commands.subject import Subject
from edgenext.errors import ArtifactError
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.formats.format import FORMATS
from edgenext.options import QuantizeOptions
from edgenext.schema import RangeReport, RangeRow
from edgenext.targets.target import require_target

if TYPE_CHECKING:
    import onnx

    from edgenext.data import ImageSet
    from edgenext.export.deployment_graph import Graph
    from edgenext.graph.ranges import Item, Ranges

MEASURED_IMAGES = 32
"""Calibration images whose largest values are measured, unless told."""


def check_range(
    artifact: str | Path,
    *,
    target: str = "",
    calib: str | Path | None = None,
    n: int = MEASURED_IMAGES,
    context: Context | None = None,
) -> RangeReport:
    """Bounds of everything that a file computes, for all pixels: see `edgenext check --range`.

    Args:
        artifact: path of an ONNX file.
        target: where it runs; the artifact's own target unless given.
        calib: images on which the largest values are measured too.
        n: how many images.
        context: what was loaded before.

    Raises:
        ArtifactError: no artifact, or one that is no ONNX graph.
        UsageError: no such target.
        DataError: images that cannot be used.

    >>> report = check_range(Path("edgenext_xx_small-32-fp32.onnx"))
    >>> report.proven, report.rows[0].type
    (True, 'float32')
    """
    import onnx

    from edgenext.export.deployment_graph import read_graph
    from edgenext.formats.session import one_line
    from edgenext.graph.ranges import input_range, propagate

    opened = open_artifact(artifact)
    manifest = opened.manifest
    target = target or manifest.target
    place = require_target(target)
    _require_graph(opened)
    graph = read_graph(opened)
    context = context or Context()
    images = None
    if calib is not None:
        options = QuantizeOptions(calib=calib, n=n)
        images = calibration_images(context, Subject(artifact=opened), options)
    context.progress("bounding every tensor", 0, 0)
    start = time.perf_counter()
    half = place.half and not _has_half(graph.model)
    inputs = input_range(graph.transform, pixels=graph.pixels)
    try:
        onnx.checker.check_model(graph.model)
        ranges = propagate(graph.model, inputs.low, inputs.high, half=half)
    except (
        ValueError,
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as e:
        raise ArtifactError(f"{artifact} is not a graph that can be run: {one_line(e)}") from e
    seconds = time.perf_counter() - start
    measured = _measured(graph, ranges, images, context) if images else {}
    rows = sorted((_row(i, item, measured) for i, item in enumerate(ranges.items)), key=_order)
    return RangeReport(
        artifact=opened.path.name,
        sha256=manifest.sha256,
        format=manifest.format,
        scheme=manifest.scheme,
        target=target,
        half=half,
        proven=all(row.proven for row in rows),
        rows=tuple(rows),
        unknown=ranges.unbounded,
        n=len(images) if images else 0,
        images=images.info if images else None,
        seconds=round(seconds, 2),
    )


def _require_graph(artifact: Artifact) -> None:
    """Refuse files that are no ONNX graphs."""
    row = FORMATS.get(artifact.manifest.format)
    if row is None or not row.graph:
        formats = " and ".join(name for name, row in FORMATS.items() if row.graph)
        raise ArtifactError(
            f"{artifact.path.name} is {artifact.manifest.format}: ranges are computed of "
            f"{formats} files",
            "Check the ONNX file of the same scheme: `--format onnx`",
        )


def _has_half(model: onnx.ModelProto) -> bool:
    """Whether a file says itself what is computed in float16."""
    from onnx import TensorProto

    return any(t.data_type == TensorProto.FLOAT16 for t in model.graph.initializer)


def _order(row: RangeRow) -> tuple[float, str]:
    return (-math.inf if row.share is None else -row.share, row.tensor)


def _row(i: int, item: Item, measured: dict[int, float]) -> RangeRow:
    from onnx import TensorProto

    from edgenext.graph.ranges import limit_of

    names: dict[int, Literal["float16", "bfloat16", "float32", "float64", "int32"]] = {
        TensorProto.FLOAT: "float32",
        TensorProto.FLOAT16: "float16",
        TensorProto.BFLOAT16: "bfloat16",
        TensorProto.DOUBLE: "float64",
        TensorProto.INT32: "int32",
    }
    limit, bounded = limit_of(item), math.isfinite(item.bound)
    most = measured.get(i)
    return RangeRow(
        tensor=item.name,
        node=item.node,
        operator=item.operator,
        kind=item.kind,
        type=names[item.dtype],
        limit=limit,
        bound=item.bound if bounded else None,
        share=item.bound / limit if bounded else None,
        measured=most if most is not None and math.isfinite(most) else None,
        overflowed=most is not None and not math.isfinite(most),
    )


def _measured(graph: Graph, ranges: Ranges, images: ImageSet, context: Context) -> dict[int, float]:
    """The largest values on images, by the position of their item."""
    import numpy as np

    from edgenext.export.onnx import call_size
    from edgenext.formats.onnx.session import tracer
    from edgenext.formats.session import filled

    trace, size = tracer(graph.model, every_type=True), call_size(graph.model)
    most: dict[int, float] = {}
    for start in range(0, len(images), size):
        batch = filled(images.images[start : start + size], size)
        tensors = trace(graph.prepare(batch))
        for i, item in enumerate(ranges.items):
            if item.name not in tensors:
                continue
            value = (
                float(np.abs(tensors[item.name]).max(initial=0))
                if item.kind == "value"
                else item.measured(tensors[item.name])
            )
            if value is not None:
                most[i] = float(np.maximum(most.get(i, 0.0), value))
        context.progress("measuring ranges", start + size, len(images))
    return most
