"""Every file of rivals.toml, made in a process and an environment of its own."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rival_environments import InstallError, environment_python, installed_versions
from rival_inputs import Case, Inputs, inputs_of
from rival_rows import HERE, RivalFile, RivalTable

from edgenext import api
from edgenext.errors import EdgenextError
from edgenext.formats.artifact import (
    Artifact,
    content_sha256,
    content_size,
    manifest_path,
    open_artifact,
)
from edgenext.formats.executorch.session import inspect
from edgenext.options import AdoptOptions
from edgenext.schema import EvalTransform, Manifest, Record, TensorSpec
from edgenext.schema.key import key
from edgenext.system.files import sha256_file, write_text
from edgenext.system.isolation import call_isolated

MAKERS, RUNTIMES = HERE / "makers", HERE / "runtimes"
ENDINGS = {"onnx": ".onnx", "openvino": ".xml", "tflite": ".tflite", "executorch": ".pte"}
OWN_PACKAGES = ("edgenext", "onnxruntime", "openvino", "torch", "litert-torch", "executorch")
ADOPTED = ("onnx", "openvino", "tflite")
"""Formats of which a file says enough of itself to be adopted."""


class FileInputs(Record):
    """All that decides a file."""

    make: str
    maker_sha256: str
    options: dict[str, Any]
    packages: list[str]
    inputs: dict[str, Any]


@dataclass(frozen=True)
class MadeFile:
    """A file that was made, or why it was not.

    `seconds` are those of its process, from its start to its end; `peak_mb` is that process's
    VmHWM in MiB, or the ru_maxrss of what it started, if that is more. Its own ru_maxrss would
    begin at the peak of this process.
    `load` is the machine's load average before. `error` is the tool's own last line.
    """

    name: str
    case: str
    call: str = ""
    file: str = ""
    size_bytes: int = 0
    sha256: str = ""
    seconds: float = 0.0
    peak_mb: float = 0.0
    load: float = 0.0
    versions: dict[str, str] | None = None
    error: str = ""


class Workshop:
    """Makes files in a folder, once each.

    Args:
        table: rivals.toml.
        folder: where files, inputs and environments are kept.
        again: make files that are there, too, from the inputs that are there.
    """

    def __init__(self, table: RivalTable, folder: Path, *, again: bool = False) -> None:
        self._table, self.folder, self._again = table, folder, again
        self._inputs: dict[str, Inputs] = {}
        self._made: dict[tuple[str, str], MadeFile] = {}

    def inputs(self, case: Case) -> Inputs:
        """The inputs of a case."""
        if case.name not in self._inputs:
            folder = self._place(case.name) / "inputs"
            record = folder / "inputs.json"
            if not record.is_file():
                inputs = inputs_of(case, folder)
                write_text(record, json.dumps(asdict(inputs), indent=1) + "\n")
            self._inputs[case.name] = Inputs(**json.loads(record.read_text("utf-8")))
        return self._inputs[case.name]

    def python(self, row: RivalFile) -> str:
        """The interpreter of a file's environment.

        Raises:
            InstallError: it cannot be installed.
        """
        if not row.environment:
            return sys.executable
        packages = self._table.environments[row.environment]
        root = self.folder / "environments"
        return str(environment_python(root, row.environment, packages))

    def versions(self, row: RivalFile) -> dict[str, str]:
        """Every package of a file's environment, and its version."""
        return installed_versions(Path(self.python(row)))

    def make(self, row: RivalFile, case: Case) -> MadeFile:
        """The file of a case, made unless it is there; a failure is its `error`, and kept too."""
        made = self._made.get((row.name, case.name))
        if made is None:
            made = self._made[row.name, case.name] = self._make_unless_there(row, case)
        return made

    def _make_unless_there(self, row: RivalFile, case: Case) -> MadeFile:
        inputs, folder = self.inputs(case), self._place(case.name) / row.name
        packages = self._table.environments.get(row.environment, list(OWN_PACKAGES))
        decides = FileInputs(
            make=row.make,
            maker_sha256=sha256_file(MAKERS / f"{row.make.partition(':')[0]}.py"),
            options=row.options,
            packages=packages,
            inputs=inputs.record,
        )
        record = folder / "made.json"
        if record.is_file() and not self._again:
            document = json.loads(record.read_text("utf-8"))
            if document.pop("key") == key(decides):
                return MadeFile(**document)
        try:
            python = self.python(row)
        except InstallError as e:  # not kept: the registry may be there another time
            return MadeFile(row.name, case.name, error=str(e))
        made = self._make(row, case, folder, packages, python)
        if inputs.record != decides.inputs:
            raise RuntimeError(f"{row.name} has changed what all start from: {folder.parent}")
        write_text(record, json.dumps(asdict(made) | {"key": key(decides)}, indent=1) + "\n")
        return made

    def _make(
        self, row: RivalFile, case: Case, folder: Path, packages: list[str], python: str
    ) -> MadeFile:
        folder.mkdir(parents=True, exist_ok=True)
        load = os.getloadavg()[0]
        out = folder / f"{row.name}{ENDINGS.get(row.format, f'.{row.format}')}"
        job = asdict(self.inputs(case)) | {
            "make": row.make,
            "options": row.options,
            "out": str(out),
            "packages": [package.partition("==")[0] for package in packages],
        }
        failure = f"{row.name} of {case.name}"
        try:
            call = call_isolated("maker:run", job, folder / "log", failure, python, MAKERS)
        except EdgenextError as e:
            error = e.message.removeprefix(f"{failure}: ")
            return MadeFile(row.name, case.name, load=round(load, 2), error=error)
        file = Path(call.result["file"])
        return MadeFile(
            name=row.name,
            case=case.name,
            call=call.result["call"],
            file=str(file),
            size_bytes=content_size(file),
            sha256=content_sha256(file),
            seconds=round(call.seconds, 1),
            peak_mb=round(max(call.result["peak_mb"], call.result["children_mb"]), 1),
            load=round(load, 2),
            versions=call.result["versions"],
        )

    def artifact(self, row: RivalFile, case: Case, made: MadeFile) -> Artifact:
        """A file with its manifest, which other tools' files get here.

        Raises:
            EdgenextError: the file cannot be read or run.
        """
        path = Path(made.file)
        transform = api.Context().checkpoint(case.arch, case.options).eval
        if row.make.startswith("ours:"):
            return open_artifact(path)
        if row.format in ADOPTED:
            manifest_path(path).unlink(missing_ok=True)
            return _adopted(path, row, transform)
        return _described(path, row, self.inputs(case), transform)

    def command(self, row: RivalFile) -> list[str]:
        """The benchmark's worker with the file's own runtime."""
        return [self.python(row), str(RUNTIMES / "worker.py"), row.runtime]

    def _place(self, name: str) -> Path:
        return self.folder / name.replace(",", "").replace(" ", "-")


def _adopted(path: Path, row: RivalFile, transform: EvalTransform) -> Artifact:
    """An adopted file; integers of a calibrated file are described by itself."""
    options = AdoptOptions(
        size=transform.size,
        mean=transform.mean,
        std=transform.std,
        crop_pct=transform.crop_pct,
        interpolation=transform.interpolation,
        exif=transform.exif,
    )
    artifact = api.adopt(path, options)
    scheme = "fp32" if row.float else "w8a8-static"
    manifest = artifact.manifest.model_copy(update={"target": row.target, "scheme": scheme})
    return Artifact(path, manifest)


def _described(path: Path, row: RivalFile, inputs: Inputs, transform: EvalTransform) -> Artifact:
    """A file of a format that is not adopted, with the manifest that sessions need."""
    side = inputs.size
    spec = TensorSpec(name="input", shape=(1, 3, side, side), dtype="float32")
    outputs = (TensorSpec(name="logits", shape=(1, inputs.num_classes), dtype="float32"),)
    if row.format == "executorch":
        inspection = inspect(path)
        spec, outputs = inspection.input, inspection.outputs
    manifest = Manifest(
        file=path.name,
        format=row.format,
        scheme="fp32" if row.float else "w8a8-static",
        target=row.target,
        arch=inputs.arch,
        num_classes=inputs.num_classes,
        eval=transform,
        input=spec,
        outputs=outputs,
        sha256=content_sha256(path),
        size_bytes=content_size(path),
        tools={},
    )
    return Artifact(path, manifest)
