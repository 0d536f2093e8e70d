"""TOML tables that are shipped inside the package, beside the code that reads them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib import resources
from typing import Any, TypeVar

T = TypeVar("T")


def packaged_toml(package: str, name: str) -> dict[str, Any]:
    """The contents of the TOML file `name` in a package."""
    return tomllib.loads(resources.files(package).joinpath(name).read_text("utf-8"))


def packaged_folders(package: str, name: str) -> dict[str, dict[str, Any]]:
    """The contents of the TOML files called `name` in the folders of a package, by folder."""
    folders = sorted(resources.files(package).iterdir(), key=lambda folder: folder.name)
    return {
        folder.name: tomllib.loads(file.read_text("utf-8"))
        for folder in folders
        if folder.is_dir() and (file := folder.joinpath(name)).is_file()
    }


def packaged_rows(package: str, name: str, row_type: Callable[..., T]) -> dict[str, T]:
    """The tables of the TOML file `name` by table name; each is `row_type(**keys)`."""
    return {row: row_type(**values) for row, values in packaged_toml(package, name).items()}
