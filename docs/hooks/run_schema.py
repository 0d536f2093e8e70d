"""The JSON Schema of a run's TOML: `python docs/hooks/run_schema.py` writes it.

Types, defaults and limits are those of `RunConfig` and `TrainRecipe`. Descriptions are the
docstrings below their fields; without one, the help of the option of the same name.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import griffe

from edgenext.cli.group import command
from edgenext.commands.config import RunConfig
from edgenext.quantize.baseline_rows import BASELINES
from edgenext.targets.scheme import SCHEMES
from edgenext.targets.target import TARGETS
from edgenext.train.recipe import BOUNDS, TrainRecipe

ROOT = Path(__file__).parents[2]
PATH = ROOT / "docs" / "reference" / "run.schema.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

SECTIONS = {
    "RunConfig": "run",
    "QuantizeStage": "quantize",
    "RunBenchStage": "bench",
    "StressStage": "stress",
    "TrainRecipe": "train",
}
"""The records of a run's TOML → the command that has options of the same names."""

CONFIG, MODULES = "edgenext.commands.config", {"TrainRecipe": "edgenext.train.recipe"}
"""The module of the records, and those of others."""

CHOICES = {("QuantizeStage", "scheme"): SCHEMES, ("QuantizeStage", "target"): TARGETS}
"""Keys that take one of a few names."""


def run_schema() -> dict[str, Any]:
    """The schema, in which `train` has the fields of `TrainRecipe`."""
    schema = RunConfig.model_json_schema()
    sections = schema.pop("$defs")
    training = TrainRecipe.model_json_schema()
    sections["TrainRecipe"] = training
    schema["properties"]["train"] = {"$ref": "#/$defs/TrainRecipe"}
    schema["properties"]["baselines"]["items"]["enum"] = list(BASELINES)
    for name, section in (("RunConfig", schema), *sections.items()):
        texts = documented(name, MODULES.get(name, CONFIG))
        for key, value in section["properties"].items():
            without_null(value)
            if name == "TrainRecipe" and key in BOUNDS:
                value |= _limits(*BOUNDS[key])
            value["description"] = texts.get(key) or help_of(SECTIONS[name], key)
            if (name, key) in CHOICES:
                value["enum"] = list(CHOICES[name, key])
        section["description"] = " ".join(
            section.get("description", "").split("\n\nRaises")[0].split()
        )
    return {"$schema": DIALECT} | schema | {"title": "A run of edgenext", "$defs": sections}


def without_null(value: dict[str, Any]) -> None:
    """Leave out what TOML cannot express: a key that is None is not there."""
    value.pop("title", None)
    alternatives = [kind for kind in value.pop("anyOf", ()) if kind != {"type": "null"}]
    for kind in alternatives:
        value |= kind
    if value.get("default", "") is None:
        del value["default"]
    if isinstance(value.get("default"), dict):
        del value["default"]  # that of a table is in its own keys


def _limits(low: float, high: float) -> dict[str, float]:
    return {"minimum": low} | ({"maximum": high} if math.isfinite(high) else {})


def documented(record: str, module: str) -> dict[str, str]:
    """The docstrings below the fields of a module's record."""
    source = griffe.visit(
        module, Path(module), (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()
    )
    return {
        name: " ".join(member.docstring.value.split())
        for name, member in source[record].members.items()
        if member.is_attribute and member.docstring
    }


def help_of(name: str, key: str) -> str:
    """The help of a command's option or argument, without its default."""
    parsed = command(name)
    for parameter in parsed.get_params(parsed.make_context(name, [], resilient_parsing=True)):
        names = (parameter.name, *(opt.lstrip("-").replace("-", "_") for opt in parameter.opts))
        if key in names:
            return re.sub(r"\s*\[[^\]]*\]$", "", str(parameter.help))
    return ""


def text() -> str:
    """The schema as the file has it."""
    return json.dumps(run_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
