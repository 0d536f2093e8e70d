"""A file that was written, with its parities and its conversion."""

from __future__ import annotations

from edgenext.cli import console
from edgenext.schema import FEATURES, ExportResult, Parity


def agreement(p: Parity) -> str:
    """A parity, with its reference."""
    against = f"against {p.against} on {p.n} images"
    if p.agreement is None:
        maps = ", ".join(f"{name} {p.stages[name]:.1f}" for name in FEATURES if name in p.stages)
        return f"{against}: {maps} dB SQNR, largest difference {p.max_abs:.2g}"
    if p.identical:
        return f"{against}: every logit is equal"
    return (
        f"{against}: logits {p.sqnr_db:.1f} dB SQNR, largest difference {p.max_abs:.2g}, "
        f"same top-1 {p.agreement:.1f} %"
    )


def show_export(result: ExportResult) -> None:
    """A file that was written."""
    mib = result.size_bytes / 2**20
    console.out.print(
        f"{result.artifact}  {mib:.2f} MiB  {result.scheme}  sha256 {result.sha256[:12]}…"
    )
    if result.features:
        maps = ", ".join(f"{f.name} 1/{f.stride} of {f.channels}" for f in result.features)
        console.out.print(f"backbone, {result.features[0].layout}: {maps} channels")
    for parity in (result.parity, result.conversion_parity):
        if parity:
            console.out.print(agreement(parity))
    if result.conversion:
        c = result.conversion
        pieces = "" if c.partitions is None else f", {c.partitions} accelerated pieces"
        cost = f"{c.seconds or 0:.0f} s, {c.peak_mb or 0:.0f} MiB"
        console.out.print(
            f"{c.converter}: {cost}; {sum(c.operators.values())} "
            f"operators, {c.transposes} transposes{pieces}"
        )
    for warning in result.warnings:
        console.err.print(f"warning: {warning}", soft_wrap=True)
