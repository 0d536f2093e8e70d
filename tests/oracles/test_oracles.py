"""ONNX files in runtimes that share no code with onnxruntime: what their Q/DQ say is computed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgenext import api
from edgenext.formats.artifact import Artifact
from edgenext.formats.onnx.session import inference_session
from edgenext.formats.session import normalise
from edgenext.metrics.fidelity import fidelity
from edgenext.options import ModelOptions, QuantizeOptions

RUN = Path(__file__).with_name("run.py")
IMAGES = 8
MODEL = ModelOptions(random_weights=True, num_classes=10, size=64)
LEAST_DB = {
    "tract": 38.0,  # measured: 40.9 dB on noise
    "tvm": 38.0,  # measured: 40.1 dB on noise
    "iree": 38.0,  # measured: 41.3 dB on noise
}
"""The least SQNR against onnxruntime. Each rounds some values to the next level."""


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of the oracles' environment."""
    path = Path(sys.prefix, "oracles", "bin", "python")
    if not path.is_file():
        pytest.skip(f"no environment of oracles at {path.parents[1]} (make oracles)")
    return str(path)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    options = QuantizeOptions(calib="digits", n=32)
    return api.quantize("edgenext_xx_small", options, MODEL, out=tmp_path_factory.mktemp("int8"))


@pytest.mark.campaign
@pytest.mark.parametrize("name", LEAST_DB)
def test_an_int8_file_means_the_same_to_others(
    name: str, python: str, artifact: Artifact, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 64, 64, 3), np.uint8)
    inputs = normalise(pixels, artifact.manifest.eval)
    session = inference_session(str(artifact.path), 1)
    expected = np.concatenate([session.run(None, {"input": x[None]})[0] for x in inputs])
    np.save(tmp_path / "in.npy", inputs)
    command = [python, str(RUN), name, str(artifact.path)]
    subprocess.run([*command, str(tmp_path / "in.npy"), str(tmp_path / "out.npy")], check=True)
    closeness = fidelity(expected, np.load(tmp_path / "out.npy"))
    assert closeness.sqnr_db > LEAST_DB[name], closeness
    # of noise through random weights an answer may be a tie: at most one of the 8 was another
    assert closeness.agreement >= 87.5
