"""What a person sees: tables on stdout, progress and errors on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from edgenext.schema import (
    BenchReport,
    CompareReport,
    Device,
    DeviceFacts,
    DiffReport,
    EvalReport,
    Evidence,
    ExportResult,
    ModelCard,
    SearchReport,
    SensitivityReport,
    SiteRow,
)

WIDE = 200
"""Columns of a table that goes to a file or a pipe: nothing is cut there."""

if TYPE_CHECKING:
    from edgenext.train import TrainResult

out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
err = Console(stderr=True, highlight=False)


def set_up_logging(verbose: bool) -> None:
    """Send the package's log to stderr: warnings, or everything."""
    handler = RichHandler(console=err, show_time=False, show_path=False, markup=False)
    logger = logging.getLogger("edgenext")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO if verbose else logging.WARNING)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for every thing that is being done; nothing when stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as bars:
        tasks = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield advance


def busy(what: str) -> contextlib.AbstractContextManager[object]:
    """A sign of life for what cannot say how far it is; nothing when stderr is no terminal."""
    return err.status(what) if err.is_terminal else contextlib.nullcontext()


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if title:  # a table's own title is wrapped at the table's width
        out.print(title)
    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    out.print(table)


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
    _table("", ("model", "parameters", "multiply-adds", "top-1 %", "evaluated at"), rows)


def show_export(result: ExportResult) -> None:
    """A file that was written."""
    mib = result.size_bytes / 2**20
    out.print(f"{result.artifact}  {mib:.2f} MiB  {result.scheme}  sha256 {result.sha256[:12]}…")
    if result.parity:
        p = result.parity
        out.print(
            f"agrees with its float network on {p.n} images: logits {p.sqnr_db:.1f} dB SQNR, "
            f"largest difference {p.max_abs:.2g}, same top-1 {p.agreement:.1f} %"
        )
    if result.conversion:
        c = result.conversion
        pieces = "" if c.partitions is None else f", {c.partitions} accelerated pieces"
        out.print(
            f"{c.converter}: {c.seconds:.0f} s, {c.peak_mb:.0f} MiB; {sum(c.operators.values())} "
            f"operators, {c.transposes} transposes{pieces}"
        )
    for warning in result.warnings:
        err.print(f"warning: {warning}", soft_wrap=True)


def show_search(report: SearchReport) -> None:
    """What a search has tried, and what it chose."""
    rows = [
        (
            f"{'> ' if c.comparison.artifact == report.chosen else '  '}{c.comparison.artifact}",
            f"{c.p50_ms:.2f}",
            f"{c.speed:.2f}x{'' if c.valid else ' (not valid)'}",
            f"{c.size_bytes / 2**20:.2f}",
            f"{c.comparison.sqnr_db:.1f}",
            f"{c.comparison.drop.points:+.2f}",
            f"{c.comparison.drop.ci95[0]:+.2f} to {c.comparison.drop.ci95[1]:+.2f}",
            "yes" if c.meets else "no",
            "yes" if c.front else "",
        )
        for c in report.candidates
    ]
    columns = (
        "candidate",
        "p50 ms",
        "speed",
        "MiB",
        "dB",
        "drop",
        "95 % interval",
        "meets",
        "front",
    )
    _table(f"chosen on {report.choosing.n} images, budget {report.budget:g} points", columns, rows)
    out.print(report.sentence, soft_wrap=True)
    chosen = next(c for c in report.candidates if c.comparison.artifact == report.chosen)
    for site, reason in chosen.kept_float.items():
        if reason.startswith("search:"):
            out.print(f"float: {site}: {reason.removeprefix('search: ')}", soft_wrap=True)
    out.print(report.path)


def show_advice() -> None:
    """What to expect of INT8 on this machine."""
    from edgenext.benchmark.advice import advice_line
    from edgenext.benchmark.environment import environment

    err.print(advice_line(environment()), soft_wrap=True)


MOST_SITES = 20
"""Sites shown unless all are asked for."""


def show_sensitivity(report: SensitivityReport, every: bool) -> None:
    """Sites by the noise they make alone, the most first."""
    total = sum(10 ** (-r.only.sqnr_db / 10) for r in report.rows) or 1.0
    rows = sorted(report.rows, key=lambda r: r.only.sqnr_db)
    shown = rows if every else rows[:MOST_SITES]

    def change(row: SiteRow) -> str:
        return f"{row.changed.sqnr_db - report.recipe.sqnr_db:+.2f}"

    table = [
        (
            r.site,
            r.kind,
            f"{r.only.sqnr_db:.1f}",
            f"{100 * 10 ** (-r.only.sqnr_db / 10) / total:.1f}",
            f"{r.only.kl:.2g}",
            "" if r.only.top1 is None else f"{r.only.top1:.2f}",
            "float" if r.kept else "int",
            change(r),
        )
        for r in shown
    ]
    columns = ("site", "kind", "alone dB", "% of noise", "KL", "top-1 %", "recipe", "changed dB")
    _table(
        f"{report.model}, {report.scheme} for {report.target}, {report.n} images: the recipe "
        f"rounded to the nearest stands at {report.recipe.sqnr_db:.1f} dB",
        columns,
        table,
    )
    if len(shown) < len(rows):
        out.print(f"{len(rows) - len(shown)} more with --all")
    out.print(
        "alone: only this site quantized; changed: the recipe with an int site in float, or with a "
        "float site quantized",
        soft_wrap=True,
    )


def show_diff(report: DiffReport) -> None:
    """Where two files part, the network's sites in order."""
    out.print(report.sentence, soft_wrap=True)
    largest = "not a number" if report.max_abs is None else f"{report.max_abs:.2g}"
    out.print(
        f"logits: {report.logits_db:.1f} dB SQNR, same top-1 {report.agreement:.1f} % of "
        f"{report.n} images, largest difference {largest}"
    )
    rows = [
        (
            f"{'> ' if r.site == report.first else '  '}{r.site}",
            r.kind,
            f"{r.sqnr_db:.1f}",
            "" if r.loss_db is None else f"{r.loss_db:+.1f}",
        )
        for r in report.sites
    ]
    if rows and not report.equal:
        _table("", ("  site", "kind", "dB", "loss dB"), rows)
    if report.fitted:
        out.print(
            f"fitted: each channel's {report.fitted}, in which the files differ by design",
            soft_wrap=True,
        )
    for name in report.untraced:
        out.print(f"{name}: its runtime shows no tensors", soft_wrap=True)
    left = (
        (report.only_a, f"only {report.a} shows"),
        (report.only_b, f"only {report.b} shows"),
        (report.unlike, "of another size in each"),
    )
    said = [f"{what} {len(sites)}" for sites, what in left if sites]
    if said:
        out.print(f"sites not compared: {', '.join(said)} (names with --json)", soft_wrap=True)
    _show_data(report.images)


def show_eval(report: EvalReport) -> None:
    """Accuracy of each artifact."""
    rows = [
        (r.artifact, f"{r.top1:.2f}", f"{r.top5:.2f}", f"{r.loss:.4f}", str(r.n), r.runtime)
        for r in report.results
    ]
    _table("", ("artifact", "top-1 %", "top-5 %", "loss", "n", "runtime"), rows)
    for r in report.results:
        _show_evidence(r.artifact, r.runtime, r.evidence)
    _show_data(report.results[0].data)


def _show_data(info: object) -> None:
    """What stands under a table when the images were a subset or some were broken."""
    from edgenext.schema import SubsetInfo

    if isinstance(info, SubsetInfo):
        if info.n < info.n_total:
            out.print(f"a stratified subset of {info.n} of {info.n_total} images, seed {info.seed}")
        if info.corrupt:
            count = len(info.corrupt)
            images = "1 image" if count == 1 else f"{count} images"
            out.print(f"{images} could not be decoded: {listed(info.corrupt)}", soft_wrap=True)


def listed(names: Sequence[str], most: int = 10, of: int = 0) -> str:
    """Names in a row, the first few of many; `of` how many there are, if more than the names."""
    more = max(of, len(names)) - len(names[:most])
    return ", ".join(names[:most]) + (f" and {more} more" if more else "")


def show_compare(report: CompareReport) -> None:
    """Paired drops."""
    rows = [(report.base.artifact, f"{report.base.top1:.2f}", *("",) * 6)]
    rows += [
        (
            c.artifact,
            f"{c.top1:.2f}",
            f"{c.drop.points:+.2f}",
            f"{c.drop.ci95[0]:+.2f} to {c.drop.ci95[1]:+.2f}",
            f"{c.drop.lost}/{c.drop.gained}",
            f"{c.drop.p_value:.2g}",
            f"{c.agreement:.2f}",
            f"{c.sqnr_db:.1f}",
        )
        for c in report.others
    ]
    columns = ("artifact", "top-1 %", "drop", "95 % interval", "lost/gained", "p", "agree %", "dB")
    _table(f"{report.n} images, drops in points", columns, rows)
    for c in report.others:
        _show_evidence(c.artifact, c.runtime, c.evidence)
    _show_data(report.data)


def _show_evidence(artifact: str, runtime: str, evidence: Evidence) -> None:
    """Say of a number that was not made where the file will run, or by no real runtime."""
    if evidence not in ("host", "device"):
        out.print(f"{artifact}: {evidence}, by {runtime}", soft_wrap=True)


def show_bench(report: BenchReport) -> None:
    """Latency and ratios; what is not valid says why."""
    from edgenext.cli.bench_table import columns, machine_line, notes, row

    heads = columns(report)
    _table(machine_line(report), heads, [row(r, report) for r in report.results])
    for line in notes(report):
        out.print(line, soft_wrap=True)
    if report.compare:
        show_compare(report.compare)
    elif report.eval:
        show_eval(report.eval)


def show_bundle(folder: Path, artifacts: Sequence[Path]) -> None:
    """A bundle that was written, and what is to be done with it."""
    out.print(str(folder), soft_wrap=True)
    names = " ".join(str(path) for path in artifacts)
    err.print(
        f"Carry it to the device, do what its README.txt says, and bring it back: edgenext bench "
        f"{names} --import {folder}",
        soft_wrap=True,
    )


def show_devices(found: Sequence[Device]) -> None:
    """The devices that were added."""
    rows = [(d.name, d.kind, d.ssh or d.adb or d.bundle or "this machine", d.python) for d in found]
    _table("", ("device", "kind", "where", "python"), rows)


def show_device(device: Device, facts: DeviceFacts | None) -> None:
    """One device and what it says of itself."""
    where = device.ssh or device.adb or device.bundle or "this machine"
    out.print(f"{device.name}: {device.kind}, {where}")
    if facts is None:
        return
    software = ", ".join(f"{name} {version}" for name, version in facts.software.items())
    heat = ", ".join(f"{name} {value:.0f} °C" for name, value in facts.temperatures_c.items())
    lines = {
        "model": facts.model,
        "soc": facts.soc,
        "system": f"{facts.os}, {facts.machine}, {facts.cores} cores, {facts.memory_mb:.0f} MiB",
        "isa": ", ".join(facts.isa),
        "software": software,
        "tools": ", ".join(facts.tools.values()),
        "power mode": facts.power_mode,
        "rails": ", ".join(facts.rails),
        "heat": heat,
        "emulator": facts.emulator and f"{facts.emulator}: its time says nothing",
    }
    for head, text in lines.items():
        if text:
            out.print(f"  {head}: {text}", soft_wrap=True)
    for note in facts.notes:
        out.print(f"  note: {note}", soft_wrap=True)


def announce(stage: str, needed: bool) -> None:
    """A stage of a run begins, or needs not be done again."""
    err.print(f"{stage}{'' if needed else ': unchanged'}")


def show_training(result: TrainResult) -> None:
    """Trained weights."""
    top1 = "" if result.top1 is None else f", top-1 {result.top1:.2f} %"
    epochs = "1 epoch" if result.epochs == 1 else f"{result.epochs} epochs"
    out.print(f"{result.weights}  {epochs}, {result.seconds:.0f} s{top1}")


def show_verdict(paths: Sequence[Path]) -> None:
    """The report's first sentence, and where the rest is."""
    verdict = next((p for p in paths if p.suffix == ".json"), None)
    if verdict:
        out.print(json.loads(verdict.read_text())["verdict"]["sentence"], soft_wrap=True)
    for path in paths:
        out.print(str(path))


def print_json(value: object) -> None:
    """JSON alone on stdout."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
