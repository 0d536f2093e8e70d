"""OpenVINO's IR: its content, reproducible bytes, refusals."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conversions import SharedConversions
from cpu import BF16

from edgenext import api
from edgenext.errors import ArtifactError, RuntimeFailedError
from edgenext.formats.artifact import Artifact, content_size, open_artifact
from edgenext.formats.openvino import session as openvino
from edgenext.formats.runtimes import open_session
from edgenext.formats.session import logits
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")

XXS = "edgenext_xx_small"
RANDOM = ModelOptions(random_weights=True, num_classes=10, size=32)
IR = ExportOptions(format="openvino")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return api.export(XXS, RANDOM, IR, out=tmp_path_factory.mktemp("ir"))


def both_files(artifact: Artifact) -> tuple[bytes, bytes]:
    return artifact.path.read_bytes(), artifact.path.with_suffix(".bin").read_bytes()


def test_it_agrees_and_has_a_manifest(plain: Artifact) -> None:
    m = plain.manifest
    assert open_artifact(plain.path).manifest == m
    assert plain.path.name == "edgenext_xx_small-32-fp32.xml"
    assert (m.format, m.target, m.form) == ("openvino", "cpu-openvino", "convC")
    assert (m.input.name, m.input.shape) == ("input", (1, 3, 32, 32))
    assert [(o.name, o.shape, o.dtype) for o in m.outputs] == [("logits", (1, 10), "float32")]
    assert m.parity is not None and m.parity.sqnr_db > 100
    assert min(m.parity.stages.values()) > 100 and len(m.parity.stages) == 5
    assert m.size_bytes == content_size(plain.path) == sum(map(len, both_files(plain)))
    assert m.conversion is not None and m.conversion.converter.startswith("openvino 20")
    assert m.conversion.operators["Convolution"] + m.conversion.operators["GroupConvolution"] == 49
    assert not {"Constant", "Parameter", "Result", "ShapeOf"} & m.conversion.operators.keys()


def test_exports_are_reproducible_and_without_paths(
    plain: Artifact, tmp_path: Path, conversions: SharedConversions
) -> None:
    with conversions.fresh():
        second = api.export(XXS, RANDOM, IR, out=tmp_path)
    assert both_files(second) == both_files(plain)
    xml = plain.path.read_text()
    assert "onnxsim" not in xml and str(plain.path.parent) not in xml and "/tmp" not in xml  # noqa: S108


def test_names_do_not_depend_on_earlier_conversions(tmp_path: Path) -> None:
    code = (
        "import sys; from edgenext.formats.openvino.convert import convert\n"
        "for out in sys.argv[2:]: convert({'graph': sys.argv[1], 'out': out, 'scheme': 'fp32'})"
    )
    graph = api.export(XXS, RANDOM, ExportOptions(target="cpu-openvino"), out=tmp_path).path
    outs = [str(tmp_path / f"{n}.xml") for n in ("first", "second")]
    subprocess.run([sys.executable, "-c", code, str(graph), *outs], check=True)
    first, second = (Path(out).read_bytes() for out in outs)
    assert first == second


@pytest.mark.parametrize(
    ("scheme", "least", "most", "share"),
    [
        ("fp16", 58, 70, 0.51),  # 63.3 dB measured
        ("bf16", 20, 60 if BF16 else 200, 1.01),
        ("w8-weight-only", 32, 40, 0.3),  # 35.6 dB measured
    ],
)
def test_other_precisions(
    plain: Artifact, scheme: str, least: float, most: float, share: float, tmp_path: Path
) -> None:
    """`share` of the bytes of the float weights is the most that the scheme's weights take."""
    artifact = api.quantize(XXS, QuantizeOptions(scheme, "cpu-openvino"), RANDOM, IR, out=tmp_path)
    assert artifact.manifest.parity is not None
    assert least < artifact.manifest.parity.sqnr_db < most
    assert len(both_files(artifact)[1]) < share * len(both_files(plain)[1])


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "least"), [("edgenext", 30), ("nncf", 18)])
def test_int8(engine: str, least: float, tmp_path: Path) -> None:
    """34.1 and 21.5 dB were measured."""
    if engine == "nncf":
        pytest.importorskip("nncf")
    options = QuantizeOptions("w8a8-static", "cpu-openvino", engine, calib="digits", n=16)
    artifact = api.quantize(XXS, options, RANDOM, IR, out=tmp_path)
    assert artifact.manifest.parity is not None and artifact.manifest.parity.sqnr_db > least
    assert artifact.manifest.conversion is not None
    assert artifact.manifest.conversion.operators["FakeQuantize"] > 20
    assert len(both_files(artifact)[1]) < 1_900_000


def test_int4_weights_become_integer_convolutions(tmp_path: Path) -> None:
    types, sizes = {}, {}
    for scheme in ("w8a8-static", "w4a8-static"):
        options = QuantizeOptions(scheme, "cpu-openvino", calib="digits", n=16)
        artifact = api.quantize(XXS, options, RANDOM, IR, out=tmp_path)
        assert artifact.manifest.conversion_parity
        assert artifact.manifest.conversion_parity.sqnr_db > 24
        sizes[scheme] = artifact.manifest.size_bytes
        compiled = openvino.compiled_model(str(artifact.path), threads=1)
        details = [op.get_rt_info() for op in compiled.get_runtime_model().get_ops()]
        layers = [d for d in details if "Convolution" in str(d["layerType"].astype(str))]
        types[scheme] = sorted(str(d["runtimePrecision"].astype(str)) for d in layers)
    assert types["w4a8-static"] == types["w8a8-static"]
    assert types["w4a8-static"].count("u8") >= 31  # with AMX; 34 without
    assert sizes["w4a8-static"] < 0.75 * sizes["w8a8-static"]


def test_pixels_and_batches(tmp_path: Path) -> None:
    options = ExportOptions(format="openvino", batch=2, uint8_input=True)
    artifact = api.export(XXS, RANDOM, options, out=tmp_path)
    spec = artifact.manifest.input
    assert (spec.shape, spec.dtype) == ((2, 32, 32, 3), "uint8")
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    result = np.concatenate(list(logits(open_session(artifact), pictures)))
    assert result.shape == (3, 10) and np.isfinite(result).all()


@pytest.mark.parametrize(
    ("which", "content"),
    [
        (".bin", None),
        (".bin", b""),
        (".bin", 1000),
        (".bin", -8),
        (".xml", 5000),
        (".xml", -40),
        (".xml", b""),
        (".xml", b"hello"),
        (".xml", b"<?xml version='1.0'?><a><b/></a>"),
    ],
)
def test_broken_files_are_refused_in_one_line(
    plain: Artifact, tmp_path: Path, which: str, content: bytes | int | None
) -> None:
    broken = Artifact(tmp_path / plain.path.name, plain.manifest)
    for ending in (".xml", ".bin"):
        complete = plain.path.with_suffix(ending).read_bytes()
        bad = complete[:content] if isinstance(content, int) else content
        written = bad if ending == which else complete
        if written is not None:
            broken.path.with_suffix(ending).write_bytes(written)
    for refuse in (lambda: open_session(broken), lambda: openvino.inspect(broken.path)):
        with pytest.raises(RuntimeFailedError, match=r"OpenVINO cannot load .*\.xml: ") as e:
            refuse()
        assert "\n" not in str(e.value)


def test_another_bin_does_not_match_the_manifest(plain: Artifact, tmp_path: Path) -> None:
    for file in plain.path.parent.iterdir():
        shutil.copy(file, tmp_path)
    content = bytearray(both_files(plain)[1])
    content[1000] ^= 1
    path = tmp_path / plain.path.name
    path.with_suffix(".bin").write_bytes(content)
    with pytest.raises(ArtifactError, match="is not the file of its manifest"):
        open_artifact(path)
