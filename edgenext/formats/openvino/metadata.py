"""What an OpenVINO file says of itself: `model_info`, as Model API and DL Streamer read it.

Both take frames in BGR order unless they are told. They resize the short side to the file's size
and crop the centre: there is no key for the published margin (`crop_pct`) nor for bicubic.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from xml.parsers import expat

from edgenext.errors import ArtifactError
from edgenext.formats.embedded import KEY, embedded_manifest
from edgenext.formats.openvino.session import core
from edgenext.system.native_output import native_output_hidden
from edgenext.system.reading import open_file, readable, reason
from edgenext.system.temporary import scratch_folder

if TYPE_CHECKING:
    from edgenext.schema import Manifest


def model_info(manifest: Manifest) -> dict[str, str]:
    """Key → value of `model_info`; empty for a backbone, which no such key describes."""
    if manifest.is_backbone:
        return {}
    values = {
        "model_type": "Classification",
        "resize_type": "crop",
        "reverse_input_channels": "True",
        "confidence_threshold": "0",
        "output_raw_scores": "True",
    }
    if manifest.input.dtype != "uint8":  # else the normalisation is inside
        values["mean_values"] = _pixels(manifest.eval.mean)
        values["scale_values"] = _pixels(manifest.eval.std)
    if manifest.shown_names:
        values["labels"] = " ".join(map(_word, manifest.shown_names))
    return values


def _pixels(values: tuple[float, ...]) -> str:
    """Numbers of 0–1 as numbers of 0–255, separated by spaces."""
    return " ".join(f"{255 * value:g}" for value in values)


def _word(name: str) -> str:
    """A class name as one word: readers divide labels at spaces, commas and semicolons."""
    return re.sub(r"[\s,;]+", "_", name) or "_"


def write(path: Path, manifest: Manifest) -> None:
    """Write a model's name, its `model_info` and the manifest into the .xml."""
    import openvino

    with scratch_folder() as folder, native_output_hidden():
        model = core().read_model(str(path))
        model.set_friendly_name(f"{manifest.arch}-{manifest.scheme}")
        for key, value in model_info(manifest).items():
            model.set_rt_info(value, ["model_info", key])
        model.set_rt_info(embedded_manifest(manifest), [KEY])
        openvino.save_model(model, str(folder / path.name), compress_to_fp16=False)
        del model  # it has the .bin mapped
        for written in folder.iterdir():
            path.with_suffix(written.suffix).write_bytes(written.read_bytes())


def read(path: Path) -> str | None:
    """The manifest's JSON in a file; None if there is none.

    Raises:
        ArtifactError: the file cannot be read, is not XML, or declares entities.
    """
    names: list[str] = []
    texts: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        names.append(name)
        if names[1:] == ["rt_info", KEY]:
            texts.append(attributes.get("value", ""))

    def entity(*_: object) -> None:
        raise ValueError("it declares an entity")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EntityDeclHandler = start, entity
    parser.EndElementHandler = lambda _: names.pop()
    with open_file(path, ArtifactError) as file:
        try:
            parser.ParseFile(file)
        except (expat.ExpatError, ValueError, LookupError) as e:
            raise ArtifactError(f"{readable(path)} is not XML: {reason(e)}") from e
    return texts[0] if texts else None
