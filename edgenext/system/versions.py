"""Versions of the packages that decide a result, from the metadata of this package's requirements.

A new requirement counts without being named here, unless it is known to decide nothing.
"""

from __future__ import annotations

import hashlib
import re
from importlib import metadata

from edgenext.system.environments import LOCKS

PACKAGE = "edgenext"

NEUTRAL = frozenset(
    {
        "adbutils",
        "asyncssh",
        "distributed",
        "filelock",
        "matplotlib",
        "playwright",
        "psutil",
        "pydantic",
        "rich",
        "safetensors",
        "segno",
        "threadpoolctl",
        "typer",
    }
)
"""Requirements that decide no file and no figure: they draw, print, check, lock, or copy bytes."""

DECODING = (PACKAGE, "numpy", "pillow", "pillow-heif")
"""What decides the pixels of decoded images."""

TRAINING = (*DECODING, "scikit-learn", "torch")
"""What decides trained weights."""


def versions(*extras: str) -> dict[str, str]:
    """Versions of this package, of what it always requires, and of what some extras require.

    An extra that is the name of a private environment adds the hash of its lock file. Packages
    that are not installed are left out.

    Args:
        extras: names of extras or private environments; others add nothing.
    """
    names = [PACKAGE]
    for requirement in metadata.requires(PACKAGE) or ():
        name, _, marker = requirement.partition(";")
        extra = re.search(r"extra *== *['\"]([\w-]+)['\"]", marker)
        if extra is None or extra[1] in extras:
            names.append(re.split(r"[^\w.-]", name.strip())[0].lower())
    locks = {f"{name}.lock": _hash(name) for name in extras if name in LOCKS}
    return versions_of(*(name for name in names if name not in NEUTRAL)) | locks


def all_versions() -> dict[str, str]:
    """Versions of everything that can make or run a file here; see `versions`."""
    extras = metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    return versions(*(extra for extra in extras if extra != "dev"), *LOCKS)


def versions_of(*names: str) -> dict[str, str]:
    """Versions of packages by name; those that are not installed are left out."""
    result = {}
    for name in names:
        try:
            result[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return result


def _hash(environment: str) -> str:
    return hashlib.sha256(LOCKS[environment].read_bytes()).hexdigest()
