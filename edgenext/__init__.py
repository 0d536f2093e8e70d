"""Edge-deployment toolchain for EdgeNeXt. The Python API is `edgenext.api`."""

from typing import Any

__version__: str


def __getattr__(name: str) -> Any:
    """`__version__`, read when it is asked for: converters run where the package is only lent."""
    if name == "__version__":
        from importlib.metadata import version

        return version("edgenext")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
