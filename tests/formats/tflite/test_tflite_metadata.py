"""TFLite metadata, read by the classes generated from TensorFlow's schema."""

from __future__ import annotations

import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from private import private_python

from edgenext import api
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.schema import IMAGENET_MEAN, IMAGENET_STD

official = pytest.importorskip(
    "tensorflow_lite_support.metadata.metadata_schema_py_generated",
    reason="no tflite-support (pip install --no-deps tflite-support)",
)
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

XXS = "edgenext_xx_small"
LABELS = [f"n{i:08} class {i}" for i in range(10)]


def metadata(path: Path) -> Any:
    model = schema.ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    entry = next(m for m in model.metadata if m.name == b"TFLITE_METADATA")
    content = bytes(bytearray(model.buffers[entry.buffer].data))
    assert official.ModelMetadata.ModelMetadataBufferHasIdentifier(content, 0)
    return official.ModelMetadataT.InitFromPackedBuf(content, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "pixels"),
    [
        ("ethos-u", False),  # the target whose converter is quickest
        ("ethos-u", True),
        pytest.param("tflite", False, marks=pytest.mark.campaign),
        pytest.param("tflite", True, marks=pytest.mark.campaign),
    ],
)
def test_an_app_finds_labels_and_normalisation(tmp_path: Path, target: str, pixels: bool) -> None:
    private_python("tflite")
    (tmp_path / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    options = ModelOptions(
        random_weights=True, num_classes=10, size=32, labels=tmp_path / "labels.txt"
    )
    export_options = ExportOptions(format="tflite", uint8_input=pixels)
    if target == "tflite":
        artifact = api.export(XXS, options, export_options, out=tmp_path)
    else:
        int8 = QuantizeOptions(target=target, calib="digits", n=8)
        artifact = api.quantize(XXS, int8, options, export_options, out=tmp_path)
    about = metadata(artifact.path)
    (graph,) = about.subgraphMetadata
    (source,), (result,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    assert (about.name, about.author) == (XXS.encode(), b"edgenext")
    assert about.version == version("edgenext").encode() and b"MIT" in about.license
    assert [file.name for file in about.associatedFiles] == [b"edgenext.json"]
    assert (source.name, result.name) == (b"image", b"logits")
    picture = source.content.contentProperties
    assert (picture.colorSpace, picture.defaultSize.width, picture.defaultSize.height) == (
        1,
        32,
        32,
    )
    normalisation = source.processUnits[0].options
    mean, std = ([0.0], [1.0]) if pixels else (IMAGENET_MEAN, IMAGENET_STD)
    scale = 1 if pixels else 255
    np.testing.assert_allclose(normalisation.mean, np.multiply(mean, scale), rtol=1e-6)
    np.testing.assert_allclose(normalisation.std, np.multiply(std, scale), rtol=1e-6)
    (file,) = result.associatedFiles
    assert (file.name, file.type) == (b"labels.txt", official.AssociatedFileType.TENSOR_AXIS_LABELS)
    names = zipfile.ZipFile(artifact.path).read("labels.txt").decode().split("\n")[:-1]
    assert names == [f"class {i}" for i in range(10)]
    assert artifact.manifest.labels == tuple(f"n{i:08}" for i in range(10))
