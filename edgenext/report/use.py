"""How a file of the run is used in one's own program: its input, its labels, and the code."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.parse import quote

from edgenext.errors import EdgenextError
from edgenext.report.provenance import Fact
from edgenext.report.study import Entry, Study
from edgenext.report.text import enumerated, number
from edgenext.schema import EvalTransform, Manifest, TensorSpec, Verdict
from edgenext.system.packaged import packaged_rows

PHOTO = "PHOTO.jpg"
"""The image that the code reads."""
MOST_LABELS = 5
"""Labels that are named."""


@dataclass(frozen=True)
class Link:
    """A file of the run, by its path relative to the report: encoded, and as text."""

    name: str
    address: str
    path: str


@dataclass(frozen=True)
class UseBox:
    """How to use one file; `links` are all files of the run, that one first."""

    title: str
    about: str
    facts: tuple[Fact, ...]
    code: str
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Snippet:
    """A row of `use.toml`: how the files of a format are run in Python."""

    imports: str
    run: str


def links_of(study: Study, run_dir: Path, report_dir: Path) -> dict[str, Link]:
    """The files that are there, by artifact."""
    links = {}
    for entry in study.entries:
        path = _path(entry, run_dir)
        if path and (link := _link(path, report_dir)):
            links[entry.name] = link
    return links


def use_box(study: Study, verdict: Verdict, run_dir: Path, report_dir: Path) -> UseBox | None:
    """The box on the file to ship; of an undecided run, on the fastest floating-point file.

    Args:
        study: the run.
        verdict: on it.
        run_dir: where its files are.
        report_dir: where the report is written: paths are relative to it.

    Returns:
        None if the file or its manifest is not there.
    """
    names = (verdict.recommended, verdict.rival, study.base.name if study.base else None)
    name = next(filter(None, names), None)
    entry = next((e for e in study.entries if e.name == name), None)
    links = links_of(study, run_dir, report_dir)
    manifest = _manifest(entry, run_dir) if entry else None
    if entry is None or manifest is None or entry.name not in links:
        return None
    link = links.pop(entry.name)
    about = ""
    if verdict.recommended is None:
        about = (
            "It is not decided whether INT8 pays: until it is, the floating-point file is the one "
            "to use."
        )
    return UseBox(
        title=f"Use {entry.file}",
        about=about,
        facts=tuple(_facts(manifest, link)),
        code=code_of(manifest, link.path),
        links=(link, *links.values()),
    )


def code_of(manifest: Manifest, path: str, photo: str = "") -> str:
    """Python that prints the five most probable classes of an image.

    Args:
        manifest: of the file.
        path: of the file, from where the code runs.
        photo: the expression of the image's path; a literal unless given.
    """
    photo = photo or _literal(PHOTO)
    snippets = packaged_rows(__package__, "use.toml", Snippet)
    snippet = snippets.get(manifest.format)
    if snippet is None or manifest.input.scale is not None or manifest.outputs[0].scale is not None:
        return snippets["edgenext"].run.format(file=_literal(path), photo=photo).strip()
    labels = "class_names" if manifest.class_names else "labels" if manifest.labels else ""
    lines = [
        *(["import json", "from pathlib import Path"] if labels else []),
        "import numpy as np",
        snippet.imports,
        f"from PIL import Image{', ImageOps' if manifest.eval.exif == 'apply' else ''}",
        "",
        *_preprocessing(manifest.eval, manifest.input, photo),
        snippet.run.format(
            file=_literal(path),
            input=_literal(manifest.input.name),
            precision="bf16" if manifest.scheme == "bf16" else "f32",
        ).strip(),
        "p = np.exp(logits - logits.max())",
        "p /= p.sum()",
    ]
    name = "i"
    if labels:
        manifest_file = _literal(f"{path}.json")
        lines.append(
            f'names = json.loads(Path({manifest_file}).read_text("utf-8"))[{_literal(labels)}]'
        )
        name = "names[i]"
    lines += ["for i in p.argsort()[::-1][:5]:", f'    print(f"{{p[i]:.2%}} {{{name}}}")']
    return "\n".join(lines)


def _literal(value: str) -> str:
    """A string in Python, in double quotes where that needs no escapes."""
    literal = repr(value)
    return f'"{literal[1:-1]}"' if literal[0] == "'" and '"' not in value else literal


def _preprocessing(transform: EvalTransform, tensor: TensorSpec, photo: str) -> list[str]:
    """Lines from the image's file to the input `x`."""
    t, short = transform, int(transform.size / transform.crop_pct)
    image = f"Image.open({photo})"
    if t.exif == "apply":
        image = f"ImageOps.exif_transpose({image})"
    lines = [
        f'image = {image}.convert("RGB")',
        f"size = [int({short} * side / min(image.size)) for side in image.size]",
        f"image = image.resize(size, Image.Resampling.{t.interpolation.upper()})",
        f"left, top = (round((side - {t.size}) / 2) for side in size)",
        f"image = image.crop((left, top, left + {t.size}, top + {t.size}))",
    ]
    if tensor.dtype == "uint8":
        lines.append("x = np.asarray(image)[None]")
        return lines
    lines.append(f"x = (np.asarray(image) / 255 - {list(t.mean)}) / {list(t.std)}")
    axes = "" if tensor.channels_last else ".transpose(2, 0, 1)"
    lines.append(f"x = x{axes}[None].astype(np.{tensor.dtype})")
    return lines


def preprocessing_words(transform: EvalTransform, tensor: TensorSpec) -> str:
    """From an image to the input, in a sentence."""
    t, short = transform, int(transform.size / transform.crop_pct)
    steps = ["turn it as its EXIF orientation says"] if t.exif == "apply" else []
    steps += [
        "convert it to RGB",
        f"resize its shorter side to {short} pixels ({t.interpolation})",
        f"crop {t.size}×{t.size} from the centre",
    ]
    if tensor.dtype == "float32":
        mean, std = (", ".join(f"{v:g}" for v in values) for values in (t.mean, t.std))
        steps += [
            "divide by 255",
            f"subtract the mean ({mean}) and divide by the deviation ({std}) of red, green and "
            "blue",
        ]
    elif tensor.scale is not None:
        steps.append(
            f"normalise, then quantize: divide by {tensor.scale:g}, round, add {tensor.zero_point}"
        )
    order = "channels last (N×H×W×3)" if tensor.channels_last else "channels first (N×3×H×W)"
    return f"{'; '.join(steps)}; {order}"


def _facts(manifest: Manifest, link: Link) -> list[Fact]:
    tensor = manifest.input
    shape = "×".join("N" if side < 0 else str(side) for side in tensor.shape)
    facts = [
        Fact("File", f"{link.path}, {number(manifest.size_bytes / 2**20, 2)} MiB"),
        Fact("Input", f"{tensor.name}: {shape}, {tensor.dtype}"),
        Fact("Preprocessing", preprocessing_words(manifest.eval, tensor)),
    ]
    if manifest.outputs:
        output = manifest.outputs[0]
        facts.append(
            Fact("Output", f"{output.name}: {manifest.num_classes:,} logits, {output.dtype}")
        )
    names = manifest.shown_names
    if names:
        key = "class_names" if manifest.class_names else "labels"
        some = enumerated([*names[:MOST_LABELS], *(["…"] if len(names) > MOST_LABELS else [])])
        facts.append(Fact("Labels", f"{key} in {link.path}.json: {some}"))
    else:
        facts.append(Fact("Labels", "the file has none: an answer is the index of a class"))
    return facts


def _path(entry: Entry, run_dir: Path) -> Path | None:
    """An entry's file, if it is there; an earlier version's paths are not relative to the run."""
    if entry.artifact is None:
        return None
    name = PurePath(entry.artifact.artifact)
    inside = not name.is_absolute() and ".." not in name.parts
    paths = [run_dir / name] if inside else []
    paths.append(run_dir / "artifacts" / name.name)
    return next((path for path in paths if path.exists()), None)


def _link(path: Path, report_dir: Path) -> Link | None:
    try:
        relative = os.path.relpath(path.resolve(), report_dir.resolve())
    except ValueError:  # on another drive
        return None
    text = PurePath(relative).as_posix()
    return Link(path.name, quote(text), text)


def _manifest(entry: Entry, run_dir: Path) -> Manifest | None:
    """The manifest of an entry's file, if both are there, intact, and those of the run."""
    from edgenext.formats.artifact import open_artifact

    path = _path(entry, run_dir)
    if path is None or entry.artifact is None:
        return None
    try:
        manifest = open_artifact(path).manifest
    except EdgenextError:
        return None
    return manifest if manifest.sha256 == entry.artifact.sha256 else None
