"""The published checkpoints and their figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgenext.schema import ModelCard


def models() -> tuple[ModelCard, ...]:
    """The published checkpoints, with their parameters, multiply-adds and published top-1.

    >>> [card.name for card in models()][:2]
    ['edgenext_xx_small', 'edgenext_x_small']
    """
    from edgenext.models.zoo import cards

    return tuple(cards())
