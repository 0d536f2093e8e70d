"""The reference of exit codes and environment variables."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from importlib import resources

from pagetext import code, joined, table

from edgenext.errors import INTERRUPTED, EdgenextError


def exit_codes() -> str:
    """Each exit code with the errors that end so, from the classes of errors."""
    by_code: dict[int, list[type[EdgenextError]]] = defaultdict(list)
    waiting: list[type[EdgenextError]] = [EdgenextError]
    while waiting:
        error = waiting.pop(0)
        by_code[error.exit_code].append(error)
        waiting += error.__subclasses__()
    rows = [("0", "", "Success.")]
    rows += [
        (str(number), ", ".join(code(e.__name__) for e in errors), " ".join(map(_says, errors)))
        for number, errors in sorted(by_code.items())
    ]
    rows.append((str(INTERRUPTED), "", "Ctrl-C, as shells have it."))
    return joined(
        "# Exit codes",
        "A command that fails writes one line to stderr: what is wrong, why, and what to do. "
        "`EDGENEXT_DEBUG=1` adds the traceback. In Python the same failures are exceptions of "
        "`edgenext.errors`, with `message`, `remedy` and `exit_code`.",
        table(("Code", "In Python", "Meaning"), rows),
        "13 and 14 are about [conditions](../ci.md): everything has then been measured, shown and "
        'written. A message that begins with "internal error" is a bug.',
    )


def _says(error: type[EdgenextError]) -> str:
    return (error.__doc__ or "").strip()


def environment() -> str:
    """Each environment variable that is read, from `environment.toml`."""
    source = resources.files("edgenext").joinpath("environment.toml").read_text("utf-8")
    rows = [(code(row["name"]), row["description"]) for row in tomllib.loads(source)["variable"]]
    return joined(
        "# Environment variables",
        "All of them are optional.",
        table(("Variable", ""), rows),
    )
