"""Names without the paths of this machine, for records that others read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path, PurePosixPath, PureWindowsPath

_OPTION = re.compile(r"--?[^=/\\~]+=|-[A-Za-z](?=[/\\~])")
"""An option with its value behind it: `--out=…`, `-o/…`."""
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def data_name(data: str | Path) -> str:
    """The name of a data set's folder or zip, without the folders above it.

    >>> data_name("/home/me/sets/imagenet/"), data_name("digits")
    ('imagenet', 'digits')
    """
    path = Path(data)
    return path.name if path.name not in ("", "..") else path.resolve().name


def without_paths(command: str) -> str:
    """A command line in which every path that says where something is becomes a name.

    Such paths are absolute, start with a home folder or climb with `..`; those below the current
    folder stay.

    >>> without_paths("edgenext run /home/me/net.toml --data=../sets/val.zip -o runs/net")
    'edgenext run net.toml --data=val.zip -o runs/net'
    """
    try:
        arguments = shlex.split(command)
    except ValueError:  # an open quote
        arguments = command.split()
    return shlex.join(_without_path(argument) for argument in arguments)


def _without_path(argument: str) -> str:
    option = _OPTION.match(argument)
    start = option.end() if option else 0
    value = argument[start:].removeprefix("file://")
    if _WINDOWS.match(value):
        return argument[:start] + PureWindowsPath(value).name
    if value.startswith(("/", "~")) or ".." in PurePosixPath(value).parts:
        path = PurePosixPath(value)
        return argument[:start] + (path.name if path.name != ".." else data_name(value))
    return argument
