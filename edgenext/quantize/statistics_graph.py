"""A graph that also computes statistics of its tensors, so that few of their values leave it.

A network of this kind has 70 MB of tensors for one image at 256 px. To read them all takes twice as
long as to compute them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgenext.errors import ArtifactError, DataError
from edgenext.formats.onnx.session import inference_session
from edgenext.quantize.layer_inputs import Positions, input_rows, row_count
from edgenext.quantize.opset import AXES_OPSET

TRANSPOSED = 1024
"""Positions of a tensor, at most, of which all are transposed before some are picked: picking
columns touches a cache line for each value."""
LOW, HIGH, VALUES, ROWS = "low", "high", "values", "rows"
"""What the graph computes of a tensor."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class BatchStatistics:
    """Of one tensor, N×C×…, for one batch.

    `low` and `high` are exact, one value a channel; `values` and `rows` those that were asked for.
    """

    low: Array
    high: Array
    values: Array
    rows: Array | None


class StatisticsGraph:
    """A float graph, loaded, that gives statistics of its tensors.

    Args:
        model: the graph.
        tensors: names of tensors in it, N×C or N×C×….
        kernels: those of which rows can be read, with the kernel size of the layer that reads them.
        shape: of its input batches.

    Raises:
        ArtifactError: a tensor whose shape does not follow from that of the input.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        tensors: Sequence[str],
        kernels: Mapping[str, int],
        shape: Sequence[int],
    ) -> None:
        self._entry, self._kernels = model.graph.input[0].name, kernels
        self._results = [output.name for output in model.graph.output]
        self.shapes = _shapes(model, tensors, shape)
        given = {self._entry, *self._results}
        self._whole = [n for n in kernels if not self._gathers_rows(n) and n not in given]
        self._labels = {name: str(i) for i, name in enumerate(tensors)}
        self._session = inference_session(self._extended(model).SerializeToString(), 1)

    def read(
        self,
        batch: NDArray[Any],
        values: Mapping[str, Positions],
        rows: Mapping[str, Positions | None],
    ) -> dict[str, BatchStatistics]:
        """The statistics of one batch.

        Args:
            batch: the graph's input.
            values: of each tensor, the positions of the values that are wanted, of all in a row.
            rows: of each tensor with a kernel, the rows that are wanted; None: all of them.

        Raises:
            DataError: the network overflows on the batch.
        """
        feeds: dict[str, NDArray[Any]] = {self._entry: batch}
        names = [*self._results, *self._whole]
        for name, label in self._labels.items():
            names += [LOW + label, HIGH + label, VALUES + label]
            feeds[f"at_{VALUES}{label}"] = values[name]
            if self._gathers_rows(name):
                names.append(ROWS + label)
                at = rows[name]
                count = row_count(self.shapes[name], 1)
                feeds[f"at_{ROWS}{label}"] = np.arange(count) if at is None else at
        outputs = dict(zip(names, self._session.run(names, feeds), strict=True))
        for name in self._results:
            require_finite(outputs[name], name)
        outputs.setdefault(self._entry, batch)

        def rows_of(name: str) -> Array | None:
            if name not in self._kernels:
                return None
            if self._gathers_rows(name):
                return np.asarray(outputs[ROWS + self._labels[name]])
            return np.asarray(input_rows(outputs[name], self._kernels[name], rows[name]))

        return {
            name: BatchStatistics(
                outputs[LOW + label], outputs[HIGH + label], outputs[VALUES + label], rows_of(name)
            )
            for name, label in self._labels.items()
        }

    def _gathers_rows(self, name: str) -> bool:
        """Whether the graph itself picks a tensor's rows: positions of one image."""
        shape = self.shapes[name]
        return self._kernels.get(name) == 1 and len(shape) == 4 and shape[0] == 1

    def _extended(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """A copy of the graph with the statistics as outputs, and positions as inputs."""
        helper, kinds = onnx.helper, onnx.TensorProto
        extended = onnx.ModelProto()
        extended.CopyFrom(model)
        graph = extended.graph
        opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))

        def constant(values: Iterable[int], name: str) -> str:
            graph.initializer.append(
                onnx.numpy_helper.from_array(np.asarray(list(values), np.int64), name)
            )
            return name

        def output(name: str) -> None:
            graph.output.append(helper.make_tensor_value_info(name, kinds.FLOAT, None))

        def node(operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
            graph.node.append(helper.make_node(operator, inputs, [name], **attributes))
            return name

        def positions(name: str) -> str:
            graph.input.append(helper.make_tensor_value_info(name, kinds.INT64, [None]))
            return name

        def reduced(operator: str, tensor: str, axes: Sequence[int], name: str) -> None:
            if opset < AXES_OPSET:
                node(operator, [tensor], name, axes=axes, keepdims=0)
            else:
                node(operator, [tensor, constant(axes, f"axes_{name}")], name, keepdims=0)
            output(name)

        def values(tensor: str, name: str) -> None:
            flat = node("Reshape", [tensor, constant([-1], f"shape_{name}")], f"flat_{name}")
            output(node("Gather", [flat, positions(f"at_{name}")], name, axis=0))

        def rows(tensor: str, channels: int, places: int, name: str) -> None:
            shape = constant([channels, -1], f"shape_{name}")
            flat, at = node("Reshape", [tensor, shape], f"flat_{name}"), positions(f"at_{name}")
            if places <= TRANSPOSED:
                flat = node("Transpose", [flat], f"transposed_{name}", perm=[1, 0])
                output(node("Gather", [flat, at], name, axis=0))
            else:
                columns = node("Gather", [flat, at], f"columns_{name}", axis=1)
                output(node("Transpose", [columns], name, perm=[1, 0]))

        for name, label in self._labels.items():
            shape = self.shapes[name]
            axes = [axis for axis in range(len(shape)) if axis != 1]
            reduced("ReduceMin", name, axes, LOW + label)
            reduced("ReduceMax", name, axes, HIGH + label)
            values(name, VALUES + label)
            if self._gathers_rows(name):
                rows(name, shape[1], shape[2] * shape[3], ROWS + label)
        for name in self._whole:
            output(name)
        return extended


def require_finite(values: NDArray[Any], name: str) -> None:
    """Refuse a tensor that takes values that are not finite.

    Raises:
        DataError: as above.
    """
    if not np.isfinite(values).all():
        raise DataError(
            f"{name} takes values that are not finite on the calibration images",
            "Check the images and the weights: the float network overflows on them",
        )


def _shapes(
    model: onnx.ModelProto, tensors: Sequence[str], batch: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors for input batches of one shape."""
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    for dimension, size in zip(sized.graph.input[0].type.tensor_type.shape.dim, batch, strict=True):
        dimension.dim_value = size
    inferred = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    known = {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    shapes = {name: known.get(name, ()) for name in tensors}
    for name, shape in shapes.items():
        if len(shape) < 2 or 0 in shape:
            raise ArtifactError(
                f"the shape of {name} does not follow from that of the input",
                "Export the graph with edgenext export",
            )
    return shapes
