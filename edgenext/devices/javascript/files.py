"""Which files a browser or Node can run."""

from __future__ import annotations

from collections.abc import Sequence

from edgenext.errors import ArtifactError, UsageError
from edgenext.formats.artifact import Artifact
from edgenext.options import BenchOptions
from edgenext.schema import Device

ENGINES = {
    "web": {"onnx": "onnxruntime-web", "tflite": "LiteRT.js"},
    "node": {"onnx": "onnxruntime-node"},
}
"""The engine of each format, by the kind of the device."""
UNITS = {"web": ("wasm", "gpu"), "node": ("cpu",)}
PLACES = {"web": "a browser", "node": "Node"}


def check_files(device: Device, artifacts: Sequence[Artifact], options: BenchOptions) -> None:
    """Refuse what no engine runs, before anything is started.

    Raises:
        UsageError: a unit or an option that the device does not have.
        ArtifactError: a file of another format, or one that its engine refuses.
    """
    place, engines = PLACES[device.kind], ENGINES[device.kind]
    if options.unit and options.unit not in UNITS[device.kind]:
        units = " or ".join(UNITS[device.kind])
        raise UsageError(f"{place} has no unit {options.unit}", f"Use --unit {units}")
    for flag, value in {
        "--lock-clocks": options.lock_clocks,
        "--delegate": options.delegate,
    }.items():
        if value:
            raise UsageError(f"{place} takes no {flag}", "Leave it out")
    for artifact in artifacts:
        manifest = artifact.manifest
        if manifest.format not in engines:
            raise ArtifactError(
                f"{artifact.path} cannot run in {place}: {manifest.format} has no engine there",
                f"Export it with --format {' or '.join(engines)}",
            )
        if artifact.path.is_dir() or manifest.files:
            raise ArtifactError(
                f"{artifact.path} has several files, and {place} is sent one",
                "Use a smaller network",
            )
        if manifest.format == "tflite":
            _check_tflite(artifact, options)


def _check_tflite(artifact: Artifact, options: BenchOptions) -> None:
    """Refuse a TFLite file that LiteRT.js does not run.

    Raises:
        UsageError: a GPU is asked for.
        ArtifactError: its input or output are integers.
    """
    types = {spec.dtype for spec in (artifact.manifest.input, *artifact.manifest.outputs)}
    if types != {"float32"}:
        raise ArtifactError(
            f"{artifact.path} has {' and '.join(sorted(types - {'float32'}))} as input or output, "
            "which LiteRT.js refuses",
            "Export it without --integer-io and --uint8-input",
        )
    if options.unit == "gpu":
        raise UsageError("TFLite files are measured in WebAssembly", "Leave out --unit gpu")
