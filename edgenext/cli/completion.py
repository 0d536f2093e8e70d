"""`--install-completion` and `--show-completion`, for the shell that is named or the present one.

Typer's own options take no name: `--install-completion zsh` would install bash's in bash.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgenext.errors import UsageError

FLAGS = ("--install-completion", "--show-completion")
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
TAKES_A_NAME = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"
"""With this variable, Typer's options take the name of a shell, and detect none."""


def with_shell(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the name of the present shell after an option that needs one.

    Raises:
        UsageError: the present shell is not known.
    """
    complete = list(arguments)
    for flag in FLAGS:
        if flag in complete:
            os.environ[TAKES_A_NAME] = "1"
            place = complete.index(flag) + 1
            if complete[place : place + 1] == [] or complete[place].startswith("-"):
                complete.insert(place, _present_shell(flag))
    return complete


def _present_shell(flag: str) -> str:
    """The shell that runs this process, else that of the user."""
    import shellingham

    try:
        name = str(shellingham.detect_shell()[0])
    except shellingham.ShellDetectionFailure:
        name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        shown = f"completion for {name} does not exist" if name else "the shell is not known"
        raise UsageError(shown, f"Name one: edgenext {flag} {'|'.join(SHELLS[:3])}")
    return name
