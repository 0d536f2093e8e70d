"""The command `edgenext models`."""

from __future__ import annotations

from collections.abc import Sequence

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import (
    Json,
)
from edgenext.schema import (
    ModelCard,
)


@app.command()
def models(json: Json = False) -> None:
    """List the published checkpoints and their figures."""
    from edgenext import api

    cards = api.models()
    if json:
        console.print_json([card.model_dump(mode="json") for card in cards])
    else:
        show_models(cards)


def show_models(cards: Sequence[ModelCard]) -> None:
    """The published checkpoints."""
    rows = [
        (
            c.name,
            f"{c.params / 1e6:.2f} M",
            f"{c.macs_256 / 1e6:.0f} M",
            f"{c.top1:.2f}",
            f"{c.eval.size} px, crop {c.eval.crop_pct}, {c.eval.interpolation}",
        )
        for c in cards
    ]
    console.table("", ("model", "parameters", "multiply-adds", "top-1 %", "evaluated at"), rows)
