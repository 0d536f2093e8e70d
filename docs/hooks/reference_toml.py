"""The reference of a run's TOML, from its JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pagetext import code, joined, table
from run_schema import run_schema

INTRODUCTION = """\
What `edgenext run FILE.toml` reads; [Runs](../run.md) explains what it does with it. Paths are
relative to the current folder, and options of the command line override keys. An unknown key is an
error that suggests the nearest.

```toml
#:schema run.schema.json
model = "edgenext_small"
weights = "edgenext_small.pth"
data = "imagenet/"

[quantize]
target = "tflite"
```

Editors complete and check the keys with the JSON Schema [`run.schema.json`](run.schema.json). The
extension [Even Better TOML](https://taplo.tamasfe.dev) of Visual Studio Code, and every other
editor that uses Taplo, read the first line above: it names a path relative to the TOML file, or
an address.
"""


def page() -> str:
    """Every key, by table."""
    schema = run_schema()
    parts = ["## At the top", _rows(schema)]
    for key, value in schema["properties"].items():
        if "$ref" in value:
            section = schema["$defs"][value["$ref"].rpartition("/")[2]]
            parts += [f"## `[{key}]` {{ #{key} }}", value["description"], _rows(section)]
    return joined("# A run's TOML", INTRODUCTION, *parts)


def _rows(section: Mapping[str, Any]) -> str:
    required = section.get("required", ())
    return table(
        ("Key", "Type", "Default", ""),
        (
            (
                code(key),
                _kind(value),
                "required" if key in required else _default(value),
                _text(value),
            )
            for key, value in section["properties"].items()
            if "$ref" not in value
        ),
    )


def _kind(value: Mapping[str, Any]) -> str:
    names = {"integer": "integer", "number": "number", "boolean": "true or false"}
    if value["type"] == "array":
        return "list of strings"
    return "path" if value.get("format") == "path" else names.get(value["type"], "string")


def _default(value: Mapping[str, Any]) -> str:
    if "default" not in value:
        return ""
    default = value["default"]
    return code(str(default).lower() if isinstance(default, bool) else default)


def _text(value: Mapping[str, Any]) -> str:
    """What a key means, with its choices and limits."""
    text = str(value["description"])
    choices = value.get("enum") or value.get("items", {}).get("enum") or ()
    unnamed = [choice for choice in choices if choice not in text]
    if unnamed:
        text += f" One of {', '.join(map(code, unnamed))}."
    low, high = value.get("minimum"), value.get("maximum")
    if low is not None and high is not None and high < 1e9:
        text += f" {low:g} to {high:g}."
    elif low is not None:
        text += f" At least {low:g}."
    return text
