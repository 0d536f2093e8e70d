"""Other quantizers to compare with: the rows of `baselines.toml`."""

from __future__ import annotations

from dataclasses import dataclass

from edgenext.options import ENGINE
from edgenext.system.packaged import packaged_rows


@dataclass(frozen=True)
class Baseline:
    """One row of `baselines.toml`, whose header explains the fields.

    An empty form stands for the target's own.
    """

    title: str
    about: str
    method: str
    target: str
    schemes: tuple[str, ...]
    form: str = ""
    foreign: bool = False

    @property
    def is_folded(self) -> bool:
        """Whether it reads the folded graph, as this package's own quantizer does."""
        return not self.form


BASELINES = packaged_rows("edgenext.quantize", "baselines.toml", Baseline)
"""Baselines by name."""

ENGINES = (ENGINE, *BASELINES)
"""Every quantizer by the name that `--engine` takes."""

DEFAULT_BASELINES = ("onnxruntime", "onnxruntime-folded")
"""The baselines of a run that names none: how onnxruntime is found, and onnxruntime on the graph
that this package's own quantizer reads. NNCF needs an extra."""


def quantizer_title(engine: str) -> str:
    """The name of a quantizer in reports."""
    return BASELINES[engine].title if engine in BASELINES else engine


def default_baselines(scheme: str) -> tuple[str, ...]:
    """The baselines of a run that names none: those of `DEFAULT_BASELINES` that make the scheme."""
    return tuple(name for name in DEFAULT_BASELINES if scheme in BASELINES[name].schemes)
