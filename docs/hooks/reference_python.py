"""The reference of the Python API: the names of `edgenext.api`, for mkdocstrings."""

from __future__ import annotations

from pagetext import joined

from edgenext import api

INTRODUCTION = """\
Every command is a function of `edgenext.api`. Names are imported when they are used first, so
`from edgenext import api` takes no time.

```python
from pathlib import Path
from edgenext import api

model = api.ModelOptions(weights=Path("edgenext_small.pth"))
fp32 = api.export("edgenext_small", model)
int8 = api.quantize("edgenext_small", api.QuantizeOptions(calib="imagenet/train"), model)
report = api.compare(str(fp32.path), [str(int8.path)], "imagenet/", model)
print(report.comparisons[0].drop.points, report.comparisons[0].drop.ci95)
```

Arguments come in one order: what it is about (a model's name, a path or a list of them), then
options as values, then keywords. Calls that are given the same `Context` load weights and images
once. What they return has its fields under [JSON outputs](json.md), and failures are exceptions
with an [exit code](exit-codes.md).
"""


def page() -> str:
    """All names: functions, then options, then the other classes."""
    functions = [name for name in dir(api) if name.islower()]
    classes = [name for name in dir(api) if name not in functions]
    options = [name for name in classes if name.endswith("Options")]
    others = [name for name in classes if name not in options]
    return joined(
        "# Python API",
        INTRODUCTION,
        "## Functions",
        *map(_entry, functions),
        "## Options",
        *map(_entry, options),
        "## Other classes",
        *map(_entry, others),
    )


def _entry(name: str) -> str:
    return f"::: edgenext.api.{name}"
