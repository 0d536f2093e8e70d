"""Formats: what can be exported, and what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edgenext.errors import UsageError, unknown_name
from edgenext.export.jetpack import JETPACKS
from edgenext.files import packaged_rows
from edgenext.graph.targets import DEFAULT_TARGET, form_for, require_target
from edgenext.options import DEFAULT_OPSET, ExportOptions
from edgenext.runtimes.socs import require_soc


@dataclass(frozen=True)
class Format:
    """One row of `formats.toml`.

    The converter makes the `converts` schemes itself, from the float graph; the others come to it
    as Q/DQ in the graph. `options` are what it can be told: name → default. `runtime` is the
    module of `edgenext.runtimes` that reads a file back; `engines` are other converters. `extra` is
    what brings the package that is needed, where that has another name than the format; `refuses`
    says why a scheme is not made. `targets` are what differs for another target than `target`;
    with `samples` the converter is given calibration images besides a quantized graph.
    """

    ending: str
    target: str
    about: str
    converter: str = ""
    needs: str = ""
    converts: tuple[str, ...] = ()
    options: dict[str, str | bool] = field(default_factory=dict)
    runtime: str = ""
    extra: str = ""
    refuses: dict[str, str] = field(default_factory=dict)
    engines: dict[str, dict[str, Any]] = field(default_factory=dict)
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    samples: bool = False

    def made_by(self, told: Mapping[str, str | bool], target: str = "") -> Format:
        """The format with the converter of its target, or that its options name.

        Raises:
            UsageError: no such engine.
        """
        if target in self.targets:
            return replace(self, target=target, **self.targets[target])
        name = told.get("engine", self.options.get("engine"))
        if name == self.options.get("engine"):
            return self
        if name not in self.engines:
            raise unknown_name("engine", str(name), [str(self.options["engine"]), *self.engines])
        return replace(self, **self.engines[str(name)])


FORMATS = packaged_rows("edgenext.export", "formats.toml", Format)


def require_format(name: str) -> Format:
    """A format by name.

    Raises:
        UsageError: no such format; the nearest names are suggested.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    return FORMATS[name]


def require_scheme(file_format: str, scheme: str, target: str = "") -> None:
    """Refuse a scheme that a format is not made in, for a target.

    Raises:
        UsageError: the row of the format says why.
    """
    kind = FORMATS[file_format].made_by({}, target)
    if scheme in kind.refuses:
        place = f" for {target}" if target in kind.targets else ""
        raise UsageError(f"{file_format}{place} cannot be {scheme}: {kind.refuses[scheme]}")


def own_format(target: str, scheme: str) -> str:
    """The format that a target's files of a scheme are made in: its own, or ONNX where it refuses.

    Raises:
        UsageError: no such target.
    """
    own = require_target(target).format
    return "onnx" if scheme in FORMATS[own].made_by({}, target).refuses else own


def resolved(how: ExportOptions) -> ExportOptions:
    """The same options with everything decided that follows from the format.

    Raises:
        UsageError: no such format, target or JetPack generation; an option that is not the
            format's; a backbone or a free batch in a format that has none.
    """
    kind = require_format(how.file_format).made_by(how.told, how.target)
    for name in how.told:
        if name not in kind.options:
            if how.target in kind.targets:
                raise UsageError(
                    f"{name} is no option of {how.file_format} for {how.target}", "Leave it out"
                )
            raise unknown_name(f"option of {how.file_format}", name, kind.options)
    if kind.converter and how.features_only:
        raise UsageError(f"a backbone cannot be {how.file_format}", "Use --format onnx")
    if kind.converter and how.batch is None:
        raise UsageError(f"{how.file_format} takes a fixed batch", "Give --batch a number")
    if kind.converter and how.opset is not None and how.opset != DEFAULT_OPSET:
        raise UsageError(f"{how.file_format} has no opset", "Leave --opset out")
    target = how.target or kind.target
    if target != kind.target and how.file_format != "onnx":
        raise UsageError(
            f"{how.file_format} is for {kind.target}, not {target}", "Leave --target out"
        )
    form, opset, told = how.form or form_for(target), how.opset, how.told
    if "jetpack" in kind.options:
        generation = str(how.told.get("jetpack", kind.options["jetpack"])).split(".")[0]
        if generation not in JETPACKS:
            raise unknown_name("JetPack generation", generation, JETPACKS)
        jetpack = JETPACKS[generation]
        told = {**told, "jetpack": generation}  # 5.1 is one of 5
        form, opset = how.form or jetpack.form, opset or jetpack.opset
        if opset > jetpack.opset:
            raise UsageError(
                f"TensorRT {jetpack.tensorrt} of JetPack {generation} takes opset "
                f"{jetpack.opset} at most, not {opset}",
                "Leave --opset out",
            )
    if "soc" in kind.options:
        name = str(told.get("soc", kind.options["soc"])).upper()
        require_soc(name)
        told = {**told, "soc": name}
    pixels = how.uint8_input or bool(how.told.get("image"))
    return replace(how, target=target, form=form, opset=opset, uint8_input=pixels, told=told)


def file_name(stem: str, scheme: str, how: ExportOptions, engine: str = "") -> str:
    """What a file is called: its network and size, what is unusual about it, scheme and format."""
    kind = require_format(how.file_format)
    told = [
        name if value is True else str(value)
        for name, value in how.told.items()
        if value != kind.options[name]
    ]
    parts = [
        stem,
        "features" if how.features_only else "",
        how.target if how.target not in (DEFAULT_TARGET, kind.target) else "",
        how.file_format if kind.ending == ".onnx" and how.file_format != "onnx" else "",
        *told,
        scheme,
        "plain" if how.form == "naive" and not engine else "",
        "" if engine == "edgenext" else engine,
    ]
    return "-".join(part for part in parts if part) + kind.ending
