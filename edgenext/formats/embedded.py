"""What a file says of itself: its manifest inside it, beside what other readers of the format want.

The manifest in a file has what decided the file, and nothing that is measured of it or that only a
finished file has: the same weights, images and options make the same bytes on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgenext.errors import ArtifactError
from edgenext.formats.format import FORMATS, PACKAGE, Format
from edgenext.schema import Manifest
from edgenext.system.parsing import parse_json
from edgenext.system.reading import readable, reason

KEY = "edgenext"
"""The name of the entry with the manifest, in every format that has named entries."""
AUTHOR = "edgenext"
LICENSE = "that of its weights; EdgeNeXt's own weights are MIT"
MAX_FILE_BYTES = 1 << 31
"""The largest file that is read for its entry: protobuf's own limit."""

OUTSIDE = {
    *("file", "sha256", "size_bytes", "files", "manifest_sha256"),  # of the finished file
    *("parity", "conversion_parity", "conversion", "sites", "clipping", "warnings"),  # measured
    *("tools", "source"),  # machines and file names differ; see `embedded_manifest`
}
"""Fields of a manifest that are not in the file."""


def embedded_manifest(manifest: Manifest) -> str:
    """The JSON of a manifest as it stands in its file."""
    fields = manifest.model_dump(mode="json", exclude=OUTSIDE)
    values = {name: value for name, value in fields.items() if value not in (None, [], {})}
    values["tools"] = {"edgenext": version("edgenext")}
    values["source"] = {"sha256": weights_sha256(manifest)}
    return compact(values)


def weights_sha256(manifest: Manifest) -> str:
    """The hash of the weights that a file was made from, also by way of another file; or empty."""
    source = manifest.source
    return source.get("weights_sha256", "" if "artifact" in source else source.get("sha256", ""))


def compact(value: object) -> str:
    """JSON without spaces, in ASCII, with sorted keys."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def properties(manifest: Manifest) -> dict[str, str]:
    """Name → value for formats that hold texts by name; sequences are JSON lists.

    The mean and standard deviation are of pixels in 0–1. `labels` are the names that an app shows,
    missing where there are none; the last entry is the manifest.
    """
    m, t = manifest, manifest.eval
    values = {
        "arch": m.arch,
        "scheme": m.scheme,
        "version": version("edgenext"),
        "input_size": str(t.size),
        "crop_pct": str(t.crop_pct),
        "interpolation": t.interpolation,
        "mean": compact(t.mean),
        "std": compact(t.std),
        "weights_sha256": weights_sha256(m),
        "calibration_sha256": m.calibration.subset.sha256 if m.calibration else "",
        "labels": compact(m.shown_names) if m.shown_names else "",
        KEY: embedded_manifest(m),
    }
    return {name: value for name, value in values.items() if value}


def write_metadata(row: Format, path: Path, manifest: Manifest) -> None:
    """Let a staged file say what it is, where its format can."""
    if row.metadata:
        import_module(f"{PACKAGE}.{row.metadata}").write(path, manifest)


def described_by(row: Format, path: Path) -> Mapping[str, Any] | None:
    """The fields of the manifest in a file; None if there is none.

    Args:
        row: the format that its content shows.
        path: of the file or folder.

    Raises:
        ArtifactError: a damaged file, or an entry that is not the JSON of an object.
    """
    if not row.metadata:
        return None
    text = import_module(f"{PACKAGE}.{row.metadata}").read(path)
    if text is None:
        return None
    try:
        values = parse_json(text)
    except ValueError as e:
        raise _unusable(path, f"is not JSON: {reason(e)}") from e
    if not isinstance(values, dict):
        raise _unusable(path, "is not an object")
    named = FORMATS.get(str(values.get("format")))
    if named is None or named.metadata != row.metadata:
        raise _unusable(path, f"is of another format than the file, which is {row.title}")
    return values


def _unusable(path: Path, problem: str) -> ArtifactError:
    return ArtifactError(f"the manifest inside {readable(path)} {problem}", "Export the file again")
