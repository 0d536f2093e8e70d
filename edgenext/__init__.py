"""Edge-deployment toolchain for EdgeNeXt.

The functions are imported when they are first used: `import edgenext` imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgenext.api import bench as bench
    from edgenext.api import compare as compare
    from edgenext.api import evaluate as evaluate
    from edgenext.api import export as export
    from edgenext.api import quantize as quantize
    from edgenext.api import report as report
    from edgenext.api import stress as stress
    from edgenext.api import train as train
    from edgenext.models.checkpoint import load_checkpoint as load_checkpoint
    from edgenext.models.zoo import create_model as create_model
    from edgenext.options import ExportOptions as ExportOptions
    from edgenext.options import ModelOptions as ModelOptions
    from edgenext.options import QuantizeOptions as QuantizeOptions

_WHERE = {
    "bench": "edgenext.api",
    "compare": "edgenext.api",
    "create_model": "edgenext.models.zoo",
    "evaluate": "edgenext.api",
    "export": "edgenext.api",
    "ExportOptions": "edgenext.options",
    "load_checkpoint": "edgenext.models.checkpoint",
    "ModelOptions": "edgenext.options",
    "quantize": "edgenext.api",
    "QuantizeOptions": "edgenext.options",
    "report": "edgenext.api",
    "stress": "edgenext.api",
    "train": "edgenext.api",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'edgenext' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
