"""Files in OpenVINO's Model API, which reads what they say of themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgenext import api
from edgenext.formats.runtimes import open_session
from edgenext.options import ExportOptions, ModelOptions

PACKAGE = "openvino-model-api==0.4.7"
"""In an environment of its own: it pins versions of numpy and OpenCV."""

READER = """
import json, sys
import numpy as np
from model_api.adapters import OpenvinoAdapter, create_core
from model_api.models import Model
float32 = {"INFERENCE_PRECISION_HINT": "f32"}  # some CPUs would take bf16
adapter = OpenvinoAdapter(create_core(), sys.argv[1], device="CPU", plugin_config=float32)
model = Model.create_model(adapter)
result = model(np.load(sys.argv[2]))
label = result.top_labels[0]
print(json.dumps([type(model).__name__, int(label.id), label.name, result.raw_scores.tolist()]))
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model-api")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    done = subprocess.run([python, "-m", "pip", "install", "-q", PACKAGE], capture_output=True)
    if done.returncode:
        pytest.skip(f"{PACKAGE} cannot be installed")
    return python


@pytest.mark.campaign
@pytest.mark.parametrize("pixels", [False, True])
def test_model_api_computes_the_same(tmp_path: Path, reader: Path, pixels: bool) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"n{i:08}\tclass number {i}\n" for i in range(10)))
    model = ModelOptions(random_weights=True, num_classes=10, size=32, labels=labels)
    options = ExportOptions(format="openvino", uint8_input=pixels)
    artifact = api.export("edgenext_xx_small", model, options, out=tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "bgr.npy", image[..., ::-1])  # as cv2.imread gives it
    command = [reader, "-c", READER, artifact.path, tmp_path / "bgr.npy"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    kind, index, name, scores = json.loads(done.stdout)
    session = open_session(artifact)
    logits = session.infer(session.prepare(image[None]))[0]
    expected = np.exp(logits) / np.exp(logits).sum()
    assert (kind, index) == ("ClassificationModel", int(logits.argmax()))
    assert name == f"class_number_{index}"
    np.testing.assert_allclose(scores, expected, atol=1e-5)  # 1.6e-7 measured
