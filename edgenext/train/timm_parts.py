"""What training takes from timm: augmentations, mixing, optimizers by name, teachers."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from edgenext.errors import MissingDependencyError

_REMEDY = "pip install 'edgenext[train]'"
_OTHER_BUILD = (
    "torch and torchvision must come from the same index: pip install torch torchvision "
    "--index-url https://download.pytorch.org/whl/cpu"
)


def timm_module(name: str) -> Any:
    """A module of timm.

    Raises:
        MissingDependencyError: timm is not installed, or torchvision is of another build than
            torch.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as e:
        raise MissingDependencyError(f"training of this kind needs timm: {e}", _REMEDY) from e
    except RuntimeError as e:  # torchvision's operators are missing
        raise MissingDependencyError(f"torchvision cannot be imported: {e}", _OTHER_BUILD) from e
