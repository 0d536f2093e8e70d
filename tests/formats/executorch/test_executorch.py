"""ExecuTorch programs: their content, reproducible bytes, refusals."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from conversions import SharedConversions

from edgenext import api
from edgenext.errors import RuntimeFailedError, UsageError
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.formats.check import check_artifact
from edgenext.formats.executorch import session as executorch
from edgenext.formats.executorch.session import ExecutorchSession
from edgenext.formats.runtimes import open_session
from edgenext.formats.session import logits
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.schema import EvalTransform, Manifest, TensorSpec

pytestmark = pytest.mark.skipif(find_spec("executorch") is None, reason="no executorch")

XXS = "edgenext_xx_small"
RANDOM = ModelOptions(random_weights=True, num_classes=10, size=32)
PROGRAM = ExportOptions(format="executorch")
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A program of one convolution."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.Flatten()).eval()
    path = tmp_path_factory.mktemp("pte") / "small.pte"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = torch.export.export(network, (torch.zeros(1, 3, 8, 8),))
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        path.write_bytes(edge.to_executorch().buffer)
    inspection = executorch.inspect(path)
    manifest = Manifest(
        file=path.name,
        format="executorch",
        scheme="fp32",
        form="convT",
        target="executorch",
        arch=XXS,
        num_classes=4,
        eval=EvalTransform(size=8),
        input=inspection.input,
        outputs=inspection.outputs,
        sha256="",
        size_bytes=0,
        source={},
        tools={},
    )
    return Artifact(path, manifest)


def test_inspect(small: Artifact) -> None:
    inspection = executorch.inspect(small.path)
    assert inspection.input == TensorSpec(name="image", shape=(1, 3, 8, 8), dtype="float32")
    assert inspection.outputs == (TensorSpec(name="logits", shape=(1, 4), dtype="float32"),)
    assert inspection.partitions == inspection.operators["XnnpackBackend"] == 1


def test_logits_are_the_networks_and_outlive_the_next_inference(small: Artifact) -> None:
    session = open_session(small)
    assert isinstance(session, ExecutorchSession)
    assert (session.runtime, session.evidence, session.batch) == ("executorch", "host", 1)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.Flatten()).eval()
    with torch.no_grad():
        expected = [network(torch.from_numpy(session.prepare(p[None]))).numpy() for p in PICTURES]
    result = np.concatenate(list(logits(session, PICTURES)))
    assert result == pytest.approx(np.concatenate(expected), abs=1e-5)
    assert result.dtype == np.float32


def test_an_input_of_another_size_is_refused(small: Artifact) -> None:
    with pytest.raises(RuntimeFailedError, match=r"ExecuTorch cannot run small\.pte: "):
        open_session(small).infer(np.zeros((1, 3, 4, 8), np.float32))


@pytest.mark.parametrize("content", [b"", 8, 40, 1000, -1, "half", "flipped", b"\x08\x09 no", None])
def test_broken_files_are_refused_in_one_line(
    small: Artifact, tmp_path: Path, content: bytes | int | str | None
) -> None:
    complete = small.path.read_bytes()
    size = len(complete)
    wrong = {"half": complete[: size // 2], "flipped": complete[:64] + bytes(size - 64)}
    bad = complete[:content] if isinstance(content, int) else wrong.get(str(content), content)
    broken = Artifact(tmp_path / "it.pte", small.manifest)
    if isinstance(bad, bytes):
        broken.path.write_bytes(bad)
    for refuse in (lambda: open_session(broken), lambda: executorch.inspect(broken.path)):
        with pytest.raises(RuntimeFailedError, match=r"it\.pte") as e:
            refuse()
        assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("backend", "message"),
    [("coreml", "no CoreMLBackend on this machine.*--format coreml"), ("xnnpak", "mean xnnpack")],
)
def test_unsupported_backends(backend: str, message: str, tmp_path: Path) -> None:
    options = ExportOptions(format="executorch", format_options={"backend": backend})
    with pytest.raises(UsageError, match=message):
        api.export(XXS, RANDOM, options, out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.campaign
def test_it_is_reproducible(tmp_path: Path, conversions: SharedConversions) -> None:
    artifact = api.export(XXS, RANDOM, PROGRAM, out=tmp_path)
    with conversions.fresh():
        report = api.verify(artifact.path, rebuild=True)
    assert report.rebuild is not None and report.rebuild.same, report.rebuild


@pytest.mark.campaign
def test_it_agrees_with_torch(tmp_path: Path) -> None:
    artifact = api.export(XXS, RANDOM, PROGRAM, out=tmp_path)
    m = artifact.manifest
    assert open_artifact(artifact.path).manifest == m
    assert (m.format, m.target, m.form, m.input.name) == ("executorch",) * 2 + ("convT", "image")
    assert m.parity is not None and m.parity.sqnr_db > 100
    assert m.conversion is not None and m.conversion.converter.startswith("executorch 1")
    assert m.conversion.notes == ("xnnpack computes 49 convolution, 1 linear",)
    assert m.conversion.partitions == m.conversion.operators["XnnpackBackend"]
    assert not any("convolution" in name for name in m.conversion.operators)


@pytest.mark.slow
def test_pointwise_convolutions_are_integer(tmp_path: Path) -> None:
    options = QuantizeOptions("w8a8-static", "executorch", calib="digits", n=16)
    artifact = api.quantize(XXS, options, RANDOM, PROGRAM, out=tmp_path)
    assert artifact.manifest.parity is not None
    assert artifact.manifest.parity.sqnr_db > 36  # 40.8 measured
    assert artifact.manifest.conversion is not None
    (note,) = artifact.manifest.conversion.notes
    assert note == "xnnpack computes 30 int8 convolution, 19 convolution, 1 linear"
    report = check_artifact(artifact)
    assert report.accepted and report.delegated is False
    assert {p.unit for p in report.placements} == {"xnnpack", "portable kernels"}
    assert {r.operator for r in report.refusals} > {"aten::mean"}
