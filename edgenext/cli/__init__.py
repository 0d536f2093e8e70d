"""The command line: a command parses, makes one call of the API and prints."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import typer

from edgenext.cli.app import app as app
from edgenext.cli.completion import FLAGS, with_shell
from edgenext.errors import INTERRUPTED, EdgenextError, InputError, OutputError, UsageError
from edgenext.system.reading import readable
from edgenext.system.streams import guarded_streams, leave_stdout
from edgenext.system.threads import set_openmp

TyperUsageError: Any = typer.BadParameter.__base__
"""Of an option or argument; where its class stands differs between the versions of Typer."""


def main() -> None:
    """Run the command line; the exit code says what kind of failure it was."""
    set_openmp()
    try:
        guarded_streams()
        _check_surroundings()
        sys.argv[1:] = with_shell(sys.argv[1:])
        code = app(standalone_mode=False, prog_name="edgenext")
        sys.stdout.flush()
        if code == INTERRUPTED:  # Typer has turned Ctrl-C into an exit code
            code = _interrupted()
    except EdgenextError as e:
        code = _fail(str(e), e.exit_code)
    except TyperUsageError as e:
        code = _misused(e)
    except (KeyboardInterrupt, typer.Abort):
        code = _interrupted()
    except BrokenPipeError:
        code = 1
    except OSError as e:
        if not set(FLAGS) & {*sys.argv}:
            code = _internal(e)
        else:
            code = _fail(f"cannot write {e.filename}: {e.strerror}", OutputError.exit_code)
    except Exception as e:  # noqa: BLE001 - the last net: no traceback unless asked for
        code = _internal(e)
    leave_stdout()
    sys.exit(code if isinstance(code, int) else 0)


def _internal(error: Exception) -> int:
    """One line for an error that nothing has foreseen."""
    detail = f"{type(error).__name__}: {error}"
    return _fail(f"internal error, {detail}. Set EDGENEXT_DEBUG=1 to see where", 1)


RESUMED = {
    "demo": "The same command goes on where it was stopped",
    "run": "The same command goes on where it was stopped",
    "sweep": "The same command goes on where it was stopped",
    "search": "The same command goes on where it was stopped",
    "train": "With --resume it goes on from the last epoch",
    "sensitivity": "The same command goes on where it was stopped",
    "fetch": "The same command goes on where it was stopped",
}
"""How to go on after Ctrl-C, by command; others start again."""


def _interrupted() -> int:
    """One line on stderr that says how to go on."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    remedy = RESUMED.get(command)
    return _fail(f"interrupted. {remedy}" if remedy else "interrupted", INTERRUPTED)


def _check_surroundings() -> None:
    """Refuse what no command can work with.

    Raises:
        InputError: the working directory does not exist any more.
        UsageError: an argument that is not UTF-8, which no result could name.
    """
    try:
        Path.cwd()
    except OSError as e:
        raise InputError(
            f"the working directory cannot be used: {e.strerror}", "Change to one that exists"
        ) from e
    for argument in sys.argv:
        if not argument.isprintable() and _is_not_utf8(argument):
            raise UsageError(
                f"the argument {readable(argument)} is not UTF-8", "Rename the file or folder"
            )


def _is_not_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _misused(error: Any) -> int:
    """One line for a command, option or value that Typer refused; help where nothing was asked."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return UsageError.exit_code
    if line := _own_line(error):
        return _fail(line, UsageError.exit_code)
    message = error.format_message()
    where = error.ctx.command_path if error.ctx else app.info.name
    end = "" if message.endswith((".", "?")) else "."
    return _fail(f"{message}{end} See `{where} --help`", UsageError.exit_code)


def _own_line(error: Any) -> str:
    """What is said of a missing value or a moved option; empty where Typer's message will do."""
    from edgenext.cli.suggest import missing_line, unknown_option_line

    kind = type(error).__name__
    if kind == "MissingParameter" and error.ctx and error.param:
        return missing_line(error)
    return unknown_option_line(error) if kind == "NoSuchOption" else ""


def _fail(message: str, code: int) -> int:
    """One line on stderr; the traceback too when EDGENEXT_DEBUG is set."""
    if os.environ.get("EDGENEXT_DEBUG") == "1":
        import traceback

        traceback.print_exc()
    with contextlib.suppress(OSError):
        sys.stderr.write(f"edgenext: {' '.join(message.split())}\n")
    return code
