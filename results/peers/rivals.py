"""What people would use instead of this package, beside it: accuracy, latency, cost of a file.

    python results/peers/rivals.py --work DIR [--data DIR --weights FILE] [--only PART …]
        [--rival NAME …] [--case NAME …] [--again] [--limit N] [--rounds N] [--out FILE]

Every other tool makes its files in an environment of its own, from the same checkpoint and images;
all files then run here, scored on the same images and timed in turns. Parts are `make`, `accuracy`
and `latency`. Environments, inputs and files stay in DIR, and what is there already is not made
again. `rivals-<ISA>.json` keeps the rows that are not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
sys.path.insert(0, str(Path(__file__).parents[1]))  # inputs.py

from rival_accuracy import Scores, scored_cases
from rival_files import MadeFile, Workshop
from rival_inputs import NETWORK, SPEED, Case, cases
from rival_rows import HERE, RivalFile, RivalTable, read_rivals
from rival_speed import latency

from edgenext.benchmark.environment import environment, isa_label
from edgenext.system.files import write_text

PARTS = ("make", "accuracy", "latency")
Row = dict[str, Any]


def main() -> None:
    """Measure the parts that are possible and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of what is kept")
    parser.add_argument("--data", type=Path, help="folder of the Tiny-ImageNet zips")
    parser.add_argument("--weights", type=Path, help="weights trained on them")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--rival", nargs="*", default=[], help="files of rivals.toml")
    parser.add_argument("--case", nargs="*", default=[], help="networks, as `case` in the results")
    parser.add_argument("--again", action="store_true", help="make files that are there, too")
    parser.add_argument("--limit", type=int, help="images to score on; default all")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, help="default: rivals-<ISA>.json here")
    args = parser.parse_args()
    env = environment()
    path = args.out or HERE / f"rivals-{isa_label(env).lower()}.json"
    table = read_rivals()
    results = _read(path) | {"isa": isa_label(env), "environment": env.model_dump(mode="json")}
    work = args.work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    comparison = Comparison(table, Workshop(table, work, again=args.again), results, path)
    known = cases(
        args.data and args.data.absolute(), args.weights and args.weights.absolute(), work
    )
    known = {name: case for name, case in known.items() if not args.case or name in args.case}
    rows = table.only(args.rival)
    if {"make", "accuracy"} & set(args.only):
        comparison.make(rows, known)
    if "accuracy" in args.only and NETWORK in known:
        comparison.score(rows, known, args.limit)
    if "latency" in args.only:
        comparison.time(table.files, known, args.rounds)


def _read(path: Path) -> Row:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


class Comparison:
    """The results, written after every row."""

    def __init__(self, table: RivalTable, workshop: Workshop, results: Row, path: Path) -> None:
        self._table, self._workshop, self._results, self._path = table, workshop, results, path

    def make(self, rows: tuple[RivalFile, ...], known: dict[str, Case]) -> None:
        """Make every file of every case that it is measured of."""
        for row in rows:
            for name in (*scored_cases(row), *(SPEED.values() if row.timed else ())):
                if name in known:
                    made = self._workshop.make(row, known[name])
                    said = made.error or f"{made.seconds} s, {made.peak_mb:.0f} MiB"
                    print(f"{row.name}, {name}: {said}", flush=True)
                    self._record("made", _published(made))

    def score(self, rows: tuple[RivalFile, ...], known: dict[str, Case], limit: int | None) -> None:
        """Score every file that was made of the trained network and its twins."""
        scores = Scores(self._workshop, known[NETWORK], limit)
        self._results["base"] = scores.base()
        for row in rows:
            for name in filter(known.__contains__, scored_cases(row)):
                made = self._workshop.make(row, known[name])
                if not made.error and not self._is_scored(made, scores):
                    score = scores.score(row, known[name], made)
                    said = score.get("error") or f"{score['top1']:.2f} %, {score['sqnr_db']:.1f} dB"
                    print(f"{row.name}, {name}: {said}", flush=True)
                    self._record("accuracy", score)

    def _is_scored(self, made: MadeFile, scores: Scores) -> bool:
        """Whether the same file was scored on as many images before."""
        file = (made.name, made.case, made.sha256, len(scores.images))
        return any(
            (row["name"], row["case"], row.get("sha256"), row["n"]) == file
            for row in self._results.get("accuracy", ())
        )

    def time(self, rows: tuple[RivalFile, ...], known: dict[str, Case], rounds: int) -> None:
        """Time all files that were made, in turns."""
        for name in filter(known.__contains__, SPEED.values()):
            timed = [row for row in rows if row.timed]
            made = {row.name: (row, self._workshop.make(row, known[name])) for row in timed}
            files = {key: pair for key, pair in made.items() if not pair[1].error}
            entry = latency(self._workshop, known[name], files, rounds)
            self._record("latency", entry, ("case",))

    def _record(self, part: str, row: Row, keys: tuple[str, ...] = ("name", "case")) -> None:
        """Put a row in place of the one of the same name, and write all."""

        def of(other: Row) -> tuple[Any, ...]:
            return tuple(other[key] for key in keys)

        others = [other for other in self._results.get(part, []) if of(other) != of(row)]
        order = [file.name for file in self._table.files]
        rows = [*others, row]
        if "name" in keys:
            rows = [row for row in rows if row["name"] in order]  # others are no longer compared
            rows.sort(key=lambda r: (order.index(r["name"]), r["case"]))
        self._results[part] = rows
        dates = self._results.get("dates", {})
        self._results["dates"] = dates | {part: date.today().isoformat()}
        self._results["command"] = "make bench-peers"
        write_text(self._path, json.dumps(self._results, indent=1) + "\n")


def _published(made: MadeFile) -> Row:
    """What is published of a file: no path of this machine."""
    return {name: value for name, value in asdict(made).items() if name != "file"}


if __name__ == "__main__":
    main()
