"""The JSON Schema of a sweep's TOML: `python docs/hooks/sweep_schema.py` writes it."""

from __future__ import annotations

import json
from typing import Any

from run_schema import CONFIG, DIALECT, PATH, documented, help_of, without_null

from edgenext.commands.sweep_config import SweepConfig
from edgenext.targets.scheme import ROWS
from edgenext.targets.target import TARGETS

MODULE = "edgenext.commands.sweep_config"
MODULES = {"BenchStage": CONFIG}
"""The module of records that runs have too."""
CHOICES = {"scheme": ROWS, "target": TARGETS}
"""Axes with values of a few names."""


def sweep_schema() -> dict[str, Any]:
    """The schema; an exclusion takes a value where it takes a list of them."""
    schema = SweepConfig.model_json_schema()
    sections = schema.pop("$defs")
    for name, section in (("SweepConfig", schema), *sections.items()):
        section["description"] = " ".join(section.get("description", "").split())
        texts = documented(name, MODULES.get(name, MODULE))
        for key, value in section["properties"].items():
            if key == "weights":
                value.pop("title")
                value["anyOf"] = [kind for kind in value["anyOf"] if kind != {"type": "null"}]
                value.pop("default")
            else:
                without_null(value)
            if key in CHOICES:
                value["items"]["enum"] = list(CHOICES[key])
            value["description"] = texts.get(key) or help_of("bench", key)
            if name == "Exclusion":
                section["properties"][key] = _one_or_several(value, key)
    return {"$schema": DIALECT} | schema | {"title": "A sweep of edgenext", "$defs": sections}


def _one_or_several(value: dict[str, Any], axis: str) -> dict[str, Any]:
    values = {"type": "array", "items": value["items"]}
    return {
        "anyOf": [value["items"], values],
        "description": f"Left out with this {axis}, or with one of a list of them.",
    }


def text() -> str:
    """The schema as the file has it."""
    return json.dumps(sweep_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.with_name("sweep.schema.json").write_text(text(), "utf-8")
