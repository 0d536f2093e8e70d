"""This package's own files, made as everybody makes them, in a process of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def export(job: dict[str, Any]) -> tuple[str, Path]:
    """A float file."""
    from edgenext import api

    options = job["options"]
    artifact = api.export(
        job["arch"], _model(job), api.ExportOptions(**options), out=Path(job["out"]).parent
    )
    return f"edgenext export {job['arch']} {_flags(options)}".strip(), artifact.path


def quantize(job: dict[str, Any]) -> tuple[str, Path]:
    """An INT8 file with ranges of the calibration images."""
    from edgenext import api

    options = dict(job["options"])
    target, export = options.pop("target"), api.ExportOptions(**options)
    quantize_options = api.QuantizeOptions(target=target, calib=job["calib"], n=job["n"])
    artifact = api.quantize(
        job["arch"], quantize_options, _model(job), export, out=Path(job["out"]).parent
    )
    flags = f"--scheme w8a8-static {_flags(job['options'])} --n {job['n']}"
    return f"edgenext quantize {job['arch']} {flags}", artifact.path


def _model(job: dict[str, Any]) -> Any:
    from edgenext import api

    if job["checkpoint"]:
        return api.ModelOptions(Path(job["checkpoint"]))
    return api.ModelOptions(random_weights=True, size=job["size"])


def _flags(options: dict[str, Any]) -> str:
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in options.items())
