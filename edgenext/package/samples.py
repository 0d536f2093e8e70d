"""Samples that run a file, a client each: templates that are filled with the file's own values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from edgenext.formats.artifact import Artifact
from edgenext.package import literals
from edgenext.report.use import code_of
from edgenext.schema import LOGITS
from edgenext.system.packaged import packaged_rows

PACKAGE = "edgenext.package"
TEMPLATES = "templates"

WEB_RUNTIME = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
"""Files of onnxruntime-web that the page loads."""
WEB_MISSING = f"Put {', '.join(WEB_RUNTIME)} of the npm package onnxruntime-web into web/"


@dataclass(frozen=True)
class Sample:
    """A row of `samples.toml`."""

    title: str
    formats: list[str]
    template: str
    file: str
    literal: str
    dtypes: list[str]
    beside: tuple[str, ...] = ()
    use: str = ""


class SampleTemplate(Template):
    """A template whose names stand behind `@@`: languages use dollars themselves."""

    delimiter = "@@"


def sample_rows() -> dict[str, Sample]:
    """The samples by client."""
    return packaged_rows(PACKAGE, "samples.toml", Sample)


def write_samples(folder: Path, artifacts: Sequence[Artifact]) -> list[Sample]:
    """Write the samples of files that share a network and its preprocessing.

    Args:
        folder: that the files are in.
        artifacts: the first of each format is the one that its samples run.

    Returns:
        The samples that were written besides Python's.
    """
    first = {artifact.manifest.format: artifact for artifact in reversed(artifacts)}
    for artifact in first.values():
        name = python_name(artifact, artifacts[0])
        (folder / name).write_text(python(artifact), encoding="utf-8")
    written = []
    for row in sample_rows().values():
        chosen = [first[name] for name in row.formats if name in first]
        if not chosen or chosen[0].manifest.input.dtype not in row.dtypes:
            continue
        path = folder / row.file
        path.parent.mkdir(exist_ok=True)
        path.write_text(rendered(row, chosen[0]), encoding="utf-8")
        for name in row.beside:
            (folder / name).write_text(_template(name), encoding="utf-8")
        written.append(row)
    return written


def python_name(artifact: Artifact, main: Artifact) -> str:
    """The name of the sample in Python that runs a file's format."""
    name = artifact.manifest.format
    return "sample.py" if name == main.manifest.format else f"sample_{name.replace('-', '_')}.py"


def license_text() -> str:
    """The license of the samples."""
    return _template("LICENSE")


def python(artifact: Artifact) -> str:
    """The sample in Python, which names its image in the first argument."""
    photo = "sys.argv[1]"
    return f"import sys\n\n{code_of(artifact.manifest, artifact.path.name, photo)}\n"


def rendered(row: Sample, artifact: Artifact) -> str:
    """A template with the values of a file."""
    m, t = artifact.manifest, artifact.manifest.eval
    text = getattr(literals, row.literal)
    output = m.outputs[0].name if m.outputs else LOGITS
    values = {
        "file": text(artifact.path.name),
        "input": text(m.input.name),
        "output": text(output),
        "pixels": _boolean(m.input.dtype == "uint8"),
        "size": t.size,
        "short": int(t.size / t.crop_pct),
        "classes": m.num_classes,
        "interpolation": text(t.interpolation),
        "bicubic": _boolean(t.interpolation == "bicubic"),
        "orientation": text("from-image" if t.exif == "apply" else "none"),
        "upright": _boolean(t.exif == "apply"),
        "missing": text(WEB_MISSING),
        "mean": _numbers(t.mean),
        "std": _numbers(t.std),
    }
    if row.literal == "javascript":
        values |= {name: f"[{values[name]}]" for name in ("mean", "std")}
    return SampleTemplate(_template(row.template)).substitute(values)


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _numbers(values: Sequence[float]) -> str:
    """Numbers that every language reads as floats."""
    return ", ".join(repr(float(value)) for value in values)


def _template(name: str) -> str:
    return resources.files(PACKAGE).joinpath(TEMPLATES, name).read_text("utf-8")
