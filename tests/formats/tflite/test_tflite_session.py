"""TFLite files: inspected, run, traced, and refused if they are damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from private import private_python

from edgenext import api
from edgenext.errors import RuntimeFailedError
from edgenext.formats.artifact import Artifact
from edgenext.formats.runtimes import open_session
from edgenext.formats.session import quantized
from edgenext.formats.tflite.session import inspect
from edgenext.options import ExportOptions, ModelOptions
from edgenext.schema import TensorSpec

pytest.importorskip("ai_edge_litert", reason="no LiteRT (pip install 'edgenext[tflite]')")


@pytest.fixture(
    scope="module",
    params=[1, pytest.param(2, marks=pytest.mark.campaign)],
    ids=["one image", "two images"],
)
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A file for a batch."""
    private_python("tflite")
    options = ModelOptions(random_weights=True, num_classes=10, size=32)
    export_options = ExportOptions(format="tflite", batch=request.param)
    folder = tmp_path_factory.mktemp("tflite")
    return api.export("edgenext_xx_small", options, export_options, out=folder)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), np.uint8)


@pytest.mark.slow
def test_inspect(artifact: Artifact) -> None:
    inspection, batch = inspect(artifact.path), artifact.manifest.input.shape[0]
    assert inspection.input.name == "image"  # as the metadata calls it
    assert inspection.input.shape == (batch, 32, 32, 3) and inspection.input.channels_last
    assert [o.shape for o in inspection.outputs] == [(batch, 10)]
    assert inspection.partitions == 1
    assert inspection.operators == artifact.manifest.conversion.operators  # type: ignore[union-attr]


@pytest.mark.slow
def test_the_trace_ends_in_the_logits(artifact: Artifact) -> None:
    session = open_session(artifact)
    prepared = session.prepare(images(session.batch or 1))
    traced = session.trace(prepared)  # type: ignore[attr-defined]
    head = traced[artifact.manifest.sites["head"]]
    np.testing.assert_allclose(head, session.infer(prepared), atol=1e-4)
    assert set(artifact.manifest.sites.values()) <= set(traced)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0, 3, 100, 100_000])
def test_truncated_files(artifact: Artifact, tmp_path: Path, keep: int) -> None:
    path = tmp_path / artifact.path.name
    path.write_bytes(artifact.path.read_bytes()[:keep])
    with pytest.raises(RuntimeFailedError, match="LiteRT cannot load"):
        open_session(Artifact(path, artifact.manifest))


def test_inputs_are_quantized() -> None:
    spec = TensorSpec(name="x", shape=(4,), dtype="int8", scale=0.5, zero_point=-3)
    got = quantized(np.array([0.0, 1.0, 1000.0, -1000.0]), spec)
    assert got.dtype == np.int8 and got.tolist() == [-3, -1, 127, -128]
