"""Files that say themselves what they are, packages, and results for their cards."""

from __future__ import annotations

import io
import json
import random
import zipfile
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from fuzz.mutations import json_mutation

PREFIX = b"\x1c\0\0\0TFL3" + bytes(64)
"""What a TFLite file begins with: its zip stands behind the flatbuffer."""


def write_inside(folder: Path) -> None:
    """An ONNX, a TFLite and an OpenVINO file with their manifest inside and none beside them."""
    from tiny_artifacts import tiny_artifact

    from edgenext.formats.artifact import manifest_path
    from edgenext.formats.embedded import embedded_manifest
    from edgenext.formats.onnx import metadata

    artifact = tiny_artifact(folder, "it")
    metadata.write(artifact.path, artifact.manifest)
    manifest_path(artifact.path).unlink()
    values = json.loads(embedded_manifest(artifact.manifest))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("edgenext.json", json.dumps(values | {"format": "tflite"}))
    (folder / "it.tflite").write_bytes(PREFIX + zipped.getvalue())
    entry = quoteattr(json.dumps(values | {"format": "openvino"}))
    xml = (
        f'<?xml version="1.0"?>\n<net>\n<rt_info>\n<edgenext value={entry} />\n</rt_info>\n</net>\n'
    )
    (folder / "it.xml").write_text(xml)
    (folder / "it.bin").write_bytes(b"")


def open_inside(folder: Path) -> None:
    from edgenext.commands.subject import open_subject
    from edgenext.errors import EdgenextError

    errors = []
    for name in ("it.onnx", "it.tflite", "it.xml"):
        try:
            open_subject(str(folder / name))
        except EdgenextError as e:
            errors.append(e)
    if errors:
        raise errors[0]


def entry_mutation(data: bytes, rng: random.Random) -> bytes:
    """The manifest inside an ONNX file changed."""
    import onnx

    model = onnx.ModelProto.FromString(data)
    for entry in model.metadata_props:
        if entry.key == "edgenext":
            entry.value = json_mutation(entry.value.encode(), rng).decode(errors="replace")
    return model.SerializeToString()


def write_package(folder: Path) -> None:
    from PIL import Image
    from tiny_artifacts import tiny_artifact

    from edgenext import api

    made = folder / "made"
    made.mkdir()
    Image.new("RGB", (20, 30), "red").save(made / "red.png")
    artifact = tiny_artifact(made, "it")
    with pytest.MonkeyPatch.context() as patch:  # without the 14 MB of onnxruntime-web
        patch.setenv("EDGENEXT_ENVIRONMENTS", str(made))
        api.package([artifact.path], out=folder / "it.zip", image=made / "red.png")
    report = {"results": [{"artifact": "it", "top1": 50.0, "top5": 90.0, "loss": 1.0, "n": 10}]}
    report["results"][0]["sha256"] = artifact.manifest.sha256
    (folder / "results.json").write_text(json.dumps(report))


def read_package(folder: Path) -> None:
    """What `verify`, `predict` and `package --results` do with them before they compute."""
    from edgenext import api
    from edgenext.commands.subject import open_subject
    from edgenext.errors import EdgenextError
    from edgenext.package.archive import first_file, is_package, opened_package
    from edgenext.package.results import read_results

    errors = []
    path = folder / "it.zip"
    try:
        api.verify(path)
        if is_package(path):
            with opened_package(path) as content:
                open_subject(str(first_file(content)))
    except EdgenextError as e:
        errors.append(e)
    try:
        for row in read_results(folder / "results.json").values():
            list(row.metrics.values())
    except EdgenextError as e:
        errors.append(e)
    if errors:
        raise errors[0]
