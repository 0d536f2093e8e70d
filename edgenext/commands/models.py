"""The published checkpoints and their figures."""

from __future__ import annotations

from edgenext.models.zoo import cards
from edgenext.schema import ModelCard


def models() -> tuple[ModelCard, ...]:
    """The published checkpoints, with their parameters, multiply-adds and published top-1.

    >>> [card.name for card in models()][:2]
    ['edgenext_xx_small', 'edgenext_x_small']
    """
    return tuple(cards())
