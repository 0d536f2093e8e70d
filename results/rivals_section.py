"""The tables of what people would use instead, in Markdown, and where ours does not lead."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from measured import Row
from text import drop, megabytes, number, spread, table

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from rival_rows import RivalFile, RivalTable, read_rivals

NETWORK = "network"
SAME_DB = 0.1
"""SQNR that differs by less is called equal."""
SAME_COST = 1.1
"""Seconds and memory that differ by a smaller factor are called equal."""
UNMADE = ("torch",)
"""Formats of files that are not made: they are what everything starts from."""
LONGEST_ERROR = 240
"""Characters of an error that are shown."""
ALL = "all"
"""Reasons in rivals.toml that hold for every file."""
MEASURES = {
    "sqnr": "SQNR",
    "twin": "SQNR of the worst twin",
    "speed": "speed",
    "seconds": "seconds to make the file",
    "memory": "memory to make the file",
}


@dataclass(frozen=True)
class Lag:
    """A measure in which ours is behind a file of another tool, with both figures."""

    file: RivalFile
    measure: str
    figures: str


class Rivals:
    """What one `rivals-<ISA>.json` says.

    Raises:
        KeyError: a row that rivals.toml does not have, or ours is behind and no reason is given.
    """

    def __init__(self, path: Path, rivals: RivalTable) -> None:
        self.results: Row = json.loads(path.read_text("utf-8"))
        self._rivals = rivals
        names = {file.name for file in rivals.files}
        for row in (*self.results.get("made", ()), *self.results.get("accuracy", ())):
            if row["name"] not in names:
                raise KeyError(f"rivals.toml has no file {row['name']}")

    @cached_property
    def _made(self) -> dict[tuple[str, str], Row]:
        return {(row["name"], row["case"]): row for row in self.results.get("made", ())}

    @cached_property
    def _scores(self) -> dict[str, dict[str, Row]]:
        """Scores by file and network."""
        scores: dict[str, dict[str, Row]] = {}
        for row in self.results.get("accuracy", ()):
            scores.setdefault(row["name"], {})[row["case"]] = row
        return scores

    @cached_property
    def _timings(self) -> dict[str, dict[str, Row]]:
        """Timings by case and file."""
        return {
            entry["case"]: {row["name"]: row for row in entry["rows"]}
            for entry in self.results.get("latency", ())
        }

    def files(self) -> str:
        """Cost and accuracy of every file."""
        head = ("file", "by", "s", "MiB", "MB", "drop (95 % interval)", "agreement %", "SQNR dB")
        rows = [self._file(file) for file in self._rivals.files]
        return table((*head, "on twins, SQNR dB"), rows, text_columns=2)

    def _file(self, file: RivalFile) -> Sequence[str]:
        made = self._made.get((file.name, NETWORK))
        title, by = _titles(file)
        if made is None:
            return (title, by, *[""] * 7)
        if made["error"]:
            return (title, by, *[""] * 3, "no file", *[""] * 3)
        size = megabytes(made["size_bytes"])
        cost = (number(made["seconds"], 0), number(made["peak_mb"], 0), size)
        if file.format in UNMADE:
            cost = ("", "", size)
        scores = self._scores.get(file.name, {})
        score = scores.get(NETWORK)
        if score is None or "error" in score:
            return (title, by, *cost, "does not run" if score else "", *[""] * 3)
        twins = [
            row["sqnr_db"] for case, row in scores.items() if case != NETWORK and "drop" in row
        ]
        closeness = (number(score["agreement"], 1), number(score["sqnr_db"], 1))
        return (title, by, *cost, drop(score), *closeness, spread(twins, 1) if twins else "")

    def latency(self) -> str:
        """Latency of every file, and how many times as fast ours is."""
        if not self._timings:
            return ""
        rows = []
        for file in self._rivals.files:
            timings = [case.get(file.name) for case in self._timings.values()]
            if any(timings):
                cells = [cell for timing in timings for cell in _timing(timing)]
                rows.append((*_titles(file), *cells))
        short = [case.partition(",")[0] for case in self._timings]
        head = [f"{name} {what}" for name in short for what in ("ms", "ours is faster by")]
        return table(("file", "by", *head), rows, text_columns=2)

    def errors(self) -> str:
        """What other tools said where they made no file, or one that does not run."""
        texts: dict[tuple[str, str], list[str]] = {}
        for row in (*self.results.get("made", ()), *self.results.get("accuracy", ())):
            if row.get("error"):
                texts.setdefault((row["name"], _shortened(row["error"])), []).append(row["case"])
        for entry in self.results.get("latency", ()):
            for name, error in entry["errors"].items():
                texts.setdefault((name, _shortened(error)), []).append(entry["case"])
        titles = {file.name: _name(file) for file in self._rivals.files}
        lines = [
            f"- {titles[name]} ({'; '.join(dict.fromkeys(cases))}): `{error}`"
            for (name, error), cases in texts.items()
        ]
        return "\n".join([*lines, *(f"- {n}: {why}." for n, why in self._rivals.absent.items())])

    def invalid(self) -> str:
        """The reasons of latencies that are not valid."""
        titles = {file.name: _name(file) for file in self._rivals.files}
        return "\n".join(
            f"- {titles[name]}, {case}: {'; '.join(row['reasons'])}."
            for case, rows in self._timings.items()
            for name, row in rows.items()
            if not row["valid"]
        )

    def versions(self) -> str:
        """Versions and calls of every tool."""
        lines = []
        for file in self._rivals.files:
            made = self._made.get((file.name, NETWORK))
            if made and made["call"]:
                packages = ", ".join(f"{n} {v}" for n, v in made["versions"].items())
                lines.append((*_titles(file), f"`{made['call']}`", packages))
        return table(("file", "by", "call", "packages"), lines, text_columns=4)

    def lags(self) -> list[Lag]:
        """Every measure in which ours is behind."""
        return [lag for file in self._rivals.files if file.beside for lag in self._behind(file)]

    def behind(self, *measures: str) -> str:
        """Where ours does not lead, and why; in some measures, or in all.

        Raises:
            KeyError: rivals.toml has no reason for one.
        """
        groups: dict[tuple[str, str], list[Lag]] = {}
        for lag in self.lags():
            if measures and lag.measure not in measures:
                continue
            groups.setdefault((lag.measure, self._reason(lag)), []).append(lag)
        return "\n".join(
            f"- {MEASURES[measure]}: {_listed(lags)}. {reason}"
            for (measure, reason), lags in groups.items()
        )

    def _reason(self, lag: Lag) -> str:
        for name in (lag.file.name, ALL):
            if reason := self._rivals.why.get(name, {}).get(lag.measure):
                return reason
        raise KeyError(f"rivals.toml has no reason [why.{lag.file.name}] {lag.measure}")

    def _behind(self, file: RivalFile) -> Iterator[Lag]:
        yield from self._less_accurate(file)
        for case, timings in self._timings.items():
            timing = timings.get(file.name)
            ours = timing and timing["ours"]
            if ours and ours["valid"] and ours["ci95"][1] < 1:
                yield Lag(file, "speed", f"{case} {_factor(ours)}")
        theirs, own = self._made.get((file.name, NETWORK)), self._made.get((file.beside, NETWORK))
        if (
            theirs
            and own
            and file.format not in UNMADE
            and not theirs["error"]
            and not own["error"]
        ):
            for measure, field, unit in (("seconds", "seconds", "s"), ("memory", "peak_mb", "MiB")):
                if own[field] > SAME_COST * theirs[field]:
                    figures = f"ours {number(own[field], 0)} {unit}, {number(theirs[field], 0)}"
                    yield Lag(file, measure, figures)

    def _less_accurate(self, file: RivalFile) -> Iterator[Lag]:
        if file.float:
            return
        theirs, own = (self._worst(name) for name in (file.name, file.beside))
        for measure in ("sqnr", "twin"):
            if measure in theirs and measure in own and own[measure] < theirs[measure] - SAME_DB:
                figures = f"ours {number(own[measure], 1)} dB, {number(theirs[measure], 1)}"
                yield Lag(file, measure, figures)

    def _worst(self, name: str) -> dict[str, float]:
        """The SQNR of a file on the network, and on the worst of its twins."""
        rows = {c: r for c, r in self._scores.get(name, {}).items() if "sqnr_db" in r}
        twins = [row["sqnr_db"] for case, row in rows.items() if case != NETWORK]
        values = {"sqnr": rows[NETWORK]["sqnr_db"]} if NETWORK in rows else {}
        return values | ({"twin": min(twins)} if twins else {})


def rivals(folder: Path) -> str:
    """The section of a page: of every machine its tables, errors and where ours is behind."""
    rows = read_rivals(folder)
    parts = []
    for path in sorted(folder.glob("rivals-*.json")):
        measured = Rivals(path, rows)
        parts += [_about(measured.results), measured.files(), measured.latency()]
        if reasons := measured.invalid():
            parts.append(f"Struck out, because not valid:\n\n{reasons}")
        if errors := measured.errors():
            parts.append(f"No file, or none that runs, in the tool's own words:\n\n{errors}")
        if behind := measured.behind():
            parts.append(f"Where ours does not lead:\n\n{behind}")
        parts.append(f"How each file was made:\n\n{measured.versions()}")
    return "\n\n".join(filter(None, parts))


def rivals_sentence(folder: Path, machine: str, title: str) -> str:
    """What the README says of one machine where accuracy and latency were measured."""
    path, rows = folder / f"rivals-{machine}.json", read_rivals(folder)
    if not path.is_file():
        return ""
    measured = Rivals(path, rows)
    if not {"accuracy", "latency"} <= set(measured.results):
        return ""
    lags = [lag for lag in measured.lags() if lag.measure in ("sqnr", "twin", "speed")]
    count = sum(bool(file.beside) for file in rows.files)
    lead = (
        f"**Beside {count} files of other tools**, on an {title}, ours is nearer to the float "
        "network and faster, or does not differ measurably"
    )
    more = "[All of them](docs/results.md#rivals), with what each costs to make"
    if not lags:
        return f"{lead}. {more}."
    groups: dict[str, list[Lag]] = {}
    for lag in lags:
        groups.setdefault(MEASURES[lag.measure], []).append(lag)
    listed = "\n".join(f"- {measure}: {_listed(group)}" for measure, group in groups.items())
    return f"{lead}, but for these. {more} and why ours is behind:\n\n{listed}"


def _titles(file: RivalFile) -> tuple[str, str]:
    """A file and who made it, in a table's first two columns."""
    return (file.title, file.tool) if file.beside else (f"**{file.title}, ours**", file.tool)


def _name(file: RivalFile) -> str:
    """A file in a sentence."""
    return f"{file.tool}, {file.title}"


def _listed(lags: Sequence[Lag]) -> str:
    """Files with the figures in which ours is behind them."""
    return "; ".join(f"{_name(lag.file)} ({lag.figures})" for lag in lags)


def _shortened(error: str) -> str:
    """The beginning of an error, which may be a page long."""
    text = " ".join(error.replace("`", "'").split())
    return text if len(text) <= LONGEST_ERROR else f"{text[:LONGEST_ERROR]}…"


def _about(results: Row) -> str:
    env, dates = results["environment"], results["dates"]
    measured = ", ".join(f"{part} on {day}" for part, day in dates.items())
    floors = [f"{100 * e['noise_floor']:.1f} % ({e['case']})" for e in results.get("latency", ())]
    floor = f" Noise floor {', '.join(floors)}." if floors else ""
    loads = [row["load"] for row in results.get("made", ()) if row["case"] == NETWORK]
    if loads:
        floor += f" Load average while files were made: {spread(loads, 1)}."
    return (
        f"{env['cpu']} ({', '.join(env['isa'])}), {env['cores']} cores; measured: {measured}; "
        f"`{results['command']}`.{floor}"
    )


def _timing(timing: Row | None) -> tuple[str, str]:
    if timing is None:
        return "", ""
    text = number(timing["p50_ms"])
    ours = timing["ours"]
    return (text if timing["valid"] else f"~~{text}~~"), _factor(ours) if ours else ""


def _factor(ratio: Row) -> str:
    low, high = ratio["ci95"]
    text = f"{ratio['median']:.2f}x ({low:.2f}–{high:.2f})"
    return text if ratio["valid"] else f"~~{text}~~"
