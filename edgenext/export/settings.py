"""Export options, resolved once: nothing below this module decides or checks them again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgenext.errors import UsageError, unknown_name
from edgenext.formats.format import (
    FORMATS,
    Choices,
    Converter,
    Format,
    function_of,
    require_features,
    require_format,
    require_scheme,
)
from edgenext.options import (
    DEFAULT_FORMAT,
    DEFAULT_OPSET,
    DEFAULT_TARGET,
    ENGINE,
    EXPORT,
    ExportOptions,
    OptionValues,
)
from edgenext.schema import FeatureLayout
from edgenext.targets.scheme import FLOAT, SCHEMES
from edgenext.targets.target import form_for, require_target

OPSETS = range(13, 24)
"""The opsets that torch's TorchScript-based exporter writes and onnxruntime runs."""


def require_opset(opset: int) -> None:
    """Refuse an opset that graphs cannot be written in.

    Raises:
        UsageError: as above.
    """
    if opset not in OPSETS:
        raise UsageError(f"unsupported opset {opset}", f"Use {OPSETS[0]} to {OPSETS[-1]}")


@dataclass(frozen=True)
class ExportSettings:
    """Everything that decides how a graph becomes a file.

    An `opset` of None is left to the recipe or the default. `options` are those of the format that
    were set, `converter` is the one they select, None if the ONNX graph itself is the file.
    `variant` has what file names say of a graph that is not the default one. `engine` is the
    quantizer, empty for a float file; with `qat` its graph is trained before it is written.
    """

    format: Format
    scheme: str
    target: str
    form: str
    batch: int | None
    opset: int | None
    opset_limit: int | None
    pixels: bool
    integer_io: bool
    features_only: bool
    options: OptionValues
    converter: Converter | None
    variant: tuple[str, ...] = ()
    engine: str = ""
    qat: bool = False

    @property
    def feature_layout(self) -> FeatureLayout:
        """The layout of a backbone's outputs."""
        return self.format.feature_layout

    @property
    def calibrated(self) -> bool:
        """Whether the scheme takes its ranges from images."""
        return self.scheme in SCHEMES and SCHEMES[self.scheme].calibrated

    @property
    def converter_quantizes(self) -> bool:
        """Whether the converter quantizes the float graph itself."""
        return self.converter is not None and self.scheme in self.converter.converts

    @property
    def is_checked(self) -> bool:
        """Whether the file must agree with its reference; that of a baseline need not."""
        return self.engine in ("", ENGINE)

    def file_name(self, stem: str) -> str:
        """The name of the file: a stem, everything that is not the default, the scheme.

        Files that differ in an option have different names.
        """
        parts = [
            self.file_stem(stem),
            self.scheme,
            "plain" if self.form == "naive" and not self.engine else "",
            "" if self.engine == ENGINE else self.engine,
            "qat" if self.qat else "",
        ]
        return "-".join(part for part in parts if part) + self.format.ending

    def file_stem(self, stem: str) -> str:
        """The part of a name that files of the same options share, whatever their scheme."""
        row, onnx_ending = self.format, FORMATS[DEFAULT_FORMAT].ending
        options = [
            name if value is True else str(value)
            for name, value in self.options.items()
            if value != row.options[name].default
        ]
        parts = [
            stem,
            self.target if self.target not in (DEFAULT_TARGET, FORMATS[row.name].target) else "",
            row.name if row.name != DEFAULT_FORMAT and row.ending == onnx_ending else "",
            *self.variant,
            *options,
        ]
        return "-".join(part for part in parts if part)


def resolve(
    options: ExportOptions,
    scheme: str = FLOAT,
    engine: str = "",
    *,
    default_opset: int = DEFAULT_OPSET,
) -> ExportSettings:
    """Decide everything that follows from the format, its target and its own options.

    Args:
        options: what the user chose.
        scheme: `fp32`, or a quantization scheme.
        engine: the quantizer; empty for a float file.
        default_opset: of a graph for which neither the user nor the format chooses one.

    Raises:
        UsageError: unknown format or target; an option that the format does not have, or an
            unsupported value of one; a scheme that the format does not support; a backbone or a
            free batch in a format without them; integer outputs of a backbone.
    """
    if options.opset is not None:
        require_opset(options.opset)
    row = require_format(options.format, options.target)
    _require_options(row, options)
    converter = row.converter_for(options.format_options)
    if options.features_only:
        require_features(row)
    if converter:
        _require_convertible(options)
    target = options.target or row.target
    require_target(target)
    if target != row.target and not row.any_target:
        raise UsageError(f"{row.name} is for {row.target}, not {target}", "Leave --target out")
    require_scheme(row.name, scheme, target)
    choices = Choices(
        options=options.format_options,
        form=options.form,
        opset=options.opset,
        pixels=options.uint8_input,
        batch=options.batch,
    )
    default = Choices(options=options.format_options)
    if row.resolve:
        choices, default = (function_of(row.resolve)(each) for each in (choices, default))
    if choices.integer_io and scheme == FLOAT:
        raise UsageError("a float file has no integer inputs", "Give --scheme w8a8-static")
    if choices.integer_io and options.features_only:
        raise UsageError("a backbone's feature maps are floats", "Leave out --integer-io")
    default = replace(
        default, form=default.form or form_for(target), opset=default.opset or default_opset
    )
    return ExportSettings(
        format=row,
        scheme=scheme,
        target=target,
        form=choices.form or default.form,
        batch=options.batch,
        opset=choices.opset,
        opset_limit=choices.opset_limit,
        pixels=choices.pixels,
        integer_io=choices.integer_io,
        features_only=options.features_only,
        options=choices.options,
        converter=converter,
        variant=_variant(options, choices, default, engine),
        engine=engine,
    )


def _variant(
    options: ExportOptions, choices: Choices, default: Choices, engine: str
) -> tuple[str, ...]:
    """What file names say of a graph: everything in which it is not the default one.

    A float file in the naive form is called plain at the end of its name.
    """
    form = choices.form or default.form
    shown = form != default.form and (form != "naive" or engine)
    opset = choices.opset or default.opset
    batch = options.batch
    parts = [
        "features" if options.features_only else "",
        "" if batch == 1 else f"batch{batch or '-dynamic'}",
        "uint8" if choices.pixels and not default.pixels else "",
        f"opset{opset}" if opset != default.opset else "",
        form if shown else "",
    ]
    return tuple(part for part in parts if part)


def own_format(target: str, scheme: str) -> str:
    """The format of a target's files in a scheme: its own, or ONNX if that refuses the scheme.

    Raises:
        UsageError: unknown target.
    """
    name = require_target(target).format
    return DEFAULT_FORMAT if scheme in require_format(name, target).refuses else name


def float_settings(target: str, options: ExportOptions = EXPORT) -> ExportSettings:
    """The settings of a target's FP32 file, in its own form and format.

    Raises:
        UsageError: an option that the format does not support.
    """
    return resolve(replace(options, target=target, format=own_format(target, FLOAT)))


def _require_options(row: Format, options: ExportOptions) -> None:
    """Refuse options that the format does not have for the target."""
    for name in options.format_options:
        if name not in row.options:
            if row.variant_of:
                raise UsageError(
                    f"{name} is not an option of {row.name} for {row.target}", "Leave it out"
                )
            raise unknown_name(f"option of {row.name}", name, row.options)


def _require_convertible(options: ExportOptions) -> None:
    """Refuse options that only ONNX graphs support."""
    name = options.format
    if options.batch is None:
        raise UsageError(f"{name} takes a fixed batch", "Give --batch a number")
    if options.opset is not None and options.opset != DEFAULT_OPSET:
        raise UsageError(f"{name} has no opset", "Leave --opset out")
