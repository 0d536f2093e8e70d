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
            "" if c.timm_crop_pct is None else f"{c.timm_crop_pct}",
        )
        for c in cards
    ]
    columns = ("model", "parameters", "multiply-adds", "top-1 %", "evaluated at", "timm's crop")
    console.table("", columns, rows)
    console.out.print(
        "Top-1 and its transform are those of the published evaluation (main.py of "
        "github.com/mmaaz60/EdgeNeXt). timm lists the same weights with its own crop "
        "(timm/models/edgenext.py), which gives another accuracy: --crop-pct.",
        soft_wrap=True,
    )
