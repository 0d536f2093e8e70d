"""How many images decide a budget: looked at after every shard, and fixed before.

Simulated streams of images, each lost, gained or neither: evidence `simulation`. Writes
`early_stop.json`; with --table it prints the table of docs/measuring.md from it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from edgenext.commands.sequence import SHARD
from edgenext.metrics.sequence import log_capital

RESULT = Path(__file__).with_name("early_stop.json")
STREAMS, SEED = 1_000, 0
MOST = 50_000
"""Images of a stream."""
ENOUGH = 0.9
"""The share of streams that must be decided."""
ROWS = 50
"""Streams that are looked at at once."""
BUDGETS = (0.5, 1.0)
DROPS = (0.0, 0.25, 0.5, 0.75, 1.0)
FLIPS = (0.01, 0.04)
"""Shares of images that are lost or gained."""

Counts = NDArray[np.float64]


def streams(drop: float, flips: float, rng: np.random.Generator) -> tuple[Counts, Counts, Counts]:
    """Images so far, and how many of them were lost and gained: streams × looks."""
    shares = (flips + drop / 100) / 2, (flips - drop / 100) / 2
    looks = MOST // SHARD
    drawn = rng.multinomial(SHARD, [*shares, 1 - flips], (STREAMS, looks))
    lost, gained = np.cumsum(drawn[..., :2], axis=1, dtype=np.float64).transpose(2, 0, 1)
    return np.arange(SHARD, SHARD * looks + 1, SHARD, dtype=np.float64), lost, gained


def sequence_decides(n: Counts, lost: Counts, gained: Counts, budget: float) -> NDArray[np.bool_]:
    """Whether the confidence sequence has excluded the budget at a look."""
    enough, mean, decides = np.log(40), budget / 100, np.empty(lost.shape, np.bool_)
    for at in range(0, len(lost), ROWS):  # what is computed at once stays in the caches
        part = slice(at, at + ROWS)
        under = log_capital(lost[part], gained[part], n, mean) >= enough
        decides[part] = under | (log_capital(gained[part], lost[part], n, -mean) >= enough)
    return decides


def tango_decides(n: Counts, lost: Counts, gained: Counts, budget: float) -> NDArray[np.bool_]:
    """Whether Tango's interval for a fixed n excludes the budget: his score test at its end."""
    mean = budget / 100
    b = (2 * n - lost + gained) * mean - lost - gained
    c = -gained * mean * (1 - mean)
    q = (np.sqrt(b * b - 8 * n * c) - b) / (4 * n)
    deviation = np.sqrt(n * (2 * q + mean * (1 - mean)))
    return np.asarray(np.abs(lost - gained - n * mean) > ndtri(0.975) * deviation)


def row(budget: float, drop: float, flips: float, rng: np.random.Generator) -> dict[str, object]:
    """What a drop takes to be decided; None where `ENOUGH` of the streams never are."""
    n, lost, gained = streams(drop, flips, rng)
    decided = sequence_decides(n, lost, gained, budget)
    stopped = np.where(decided.any(1), n[decided.argmax(1)], np.inf)
    fixed = tango_decides(n, lost, gained, budget).mean(0) >= ENOUGH

    def images(value: float) -> int | None:
        return int(value) if np.isfinite(value) else None

    return {
        "budget": budget,
        "drop": drop,
        "flips": flips,
        "sequence_median": images(float(np.quantile(stopped, 0.5, method="higher"))),
        "sequence_most": images(float(np.quantile(stopped, ENOUGH, method="higher"))),
        "tango_fixed": int(n[fixed.argmax()]) if fixed.any() else None,
        "wrong": float(np.mean(_wrong(lost, gained, n, stopped, budget, drop))),
    }


def _wrong(
    lost: Counts, gained: Counts, n: Counts, stopped: Counts, budget: float, drop: float
) -> NDArray[np.bool_]:
    """Whether a stream was decided, and wrongly; of a drop at the budget both sides are wrong."""
    is_decided = np.isfinite(stopped)
    last = np.minimum(np.searchsorted(n, np.where(is_decided, stopped, n[-1])), len(n) - 1)
    at = np.arange(len(stopped)), last
    is_under = 100 * (lost[at] - gained[at]) / stopped < budget
    return np.asarray(is_decided & ((drop == budget) | (is_under != (drop < budget))))


def table(rows: list[dict[str, object]]) -> str:
    """The table of docs/measuring.md."""
    lines = [
        "| budget, points | flips, % | drop, points | half are decided after | 90 % after | "
        "Tango, n fixed before, 90 % |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        cells = [f"{r['budget']:g}", f"{100 * float(str(r['flips'])):g}", f"{r['drop']:g}"]
        for name in ("sequence_median", "sequence_most", "tango_fixed"):
            value = r[name]
            cells.append(f"{value:,}" if isinstance(value, int) else f"> {MOST:,}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="print the table of the JSON")
    if not parser.parse_args().table:
        rng = np.random.default_rng(SEED)
        rows = [row(b, d, f, rng) for b in BUDGETS for f in FLIPS for d in DROPS]
        document = {"evidence": "simulation", "streams": STREAMS, "seed": SEED, "images": MOST}
        document |= {"shard": SHARD, "numpy": np.__version__, "rows": rows}
        RESULT.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    print(table(json.loads(RESULT.read_text("utf-8"))["rows"]))


if __name__ == "__main__":
    main()
