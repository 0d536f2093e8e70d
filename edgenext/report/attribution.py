"""Which part of a result is due to folding the graph, and which to the quantizer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from edgenext.options import ENGINE
from edgenext.quantize.baseline_rows import BASELINES, quantizer_title
from edgenext.report.findings import Findings
from edgenext.report.speed import speed
from edgenext.report.study import PLAIN, Entry, Study
from edgenext.report.text import NOTHING, decibels, number, span, times

TITLE = "What folding gives, and what the quantizer"
SCHEME = "w8a8-static"
"""The scheme that the baselines make."""


def attribution_table(study: Study) -> Findings | None:
    """The section on folding and quantizer; None without another quantizer's file to compare."""
    files = _files(study)
    own = files.get(ENGINE)
    if own is None or len(files) < 2:
        return None
    base = study.base.label if study.base else NOTHING
    return Findings(
        title=TITLE,
        columns=(
            *("Quantizer", "Graph", "Drop, points", "Same answer, %", "SQNR, dB"),
            f"Speed, {base} = 1",
        ),
        about=(
            "Two things set this package’s INT8 file apart from another quantizer’s: the graph "
            "that it starts from, which is folded into a canonical form, and the quantizer itself. "
            "Files that differ in one of the two show what each of them gives. "
            + " ".join(f"{quantizer_title(e)}: {BASELINES[e].about}." for e in files if e != ENGINE)
        ),
        findings=tuple(_findings(study, files)),
        rows=tuple(
            _row(study, entry, quantizer_title(engine)) for engine, entry in _rows(study, files)
        ),
        note=(
            "All drops and SQNRs are relative to the base, on the same images. The quantizers were "
            "calibrated on the same images."
        ),
    )


def _files(study: Study) -> dict[str, Entry]:
    """The file of each quantizer in the scheme that all of them make: the first of several."""
    return {
        e.artifact.engine or ENGINE: e
        for e in reversed(study.int8)
        if e.artifact and e.scheme == SCHEME and e.comparison
    }


def _rows(study: Study, files: dict[str, Entry]) -> Iterator[tuple[str, Entry]]:
    """The FP32 files, the baselines in the order of `baselines.toml`, then this package's file."""
    for entry in study.floats:
        if entry.scheme == "fp32":
            yield "none (FP32)", entry
    for engine in (*BASELINES, ENGINE):
        if engine in files:
            yield engine, files[engine]


def _is_plain(entry: Entry) -> bool:
    return entry.form == PLAIN


def _row(study: Study, entry: Entry, name: str) -> tuple[str, ...]:
    graph = "plain" if _is_plain(entry) else "folded"
    if entry is study.base:
        return name, graph, "base", "", "", "1"
    comparison = entry.comparison
    if comparison is None:
        return name, graph, NOTHING, NOTHING, NOTHING, _speed(study, entry)
    drop = comparison.drop
    return (
        name,
        graph,
        f"{number(drop.points, 2)} ({span(*drop.ci95, 2)})",
        number(comparison.agreement, 1),
        decibels(comparison.sqnr_db),
        _speed(study, entry),
    )


def _speed(study: Study, entry: Entry) -> str:
    measured = speed(entry, study.base, study) if study.base else None
    if measured is None:
        return NOTHING
    value, interval = times(measured.times, measured.low, measured.high)
    return f"{value} ({interval})" if measured.valid else "not valid"


def _findings(study: Study, files: dict[str, Entry]) -> Iterator[str]:
    """What each step from onnxruntime's defaults to this package's file gives, one at a time."""
    own = files[ENGINE]
    yield from _float_folding(study)
    steps = ("onnxruntime", "onnxruntime-tuned", "onnxruntime-folded", ENGINE)
    causes = {
        ("onnxruntime", "onnxruntime-tuned"): "Configuration",
        ("onnxruntime-tuned", "onnxruntime-folded"): "Folding",
        ("onnxruntime-folded", ENGINE): "Quantizer",
        ("onnxruntime", "onnxruntime-folded"): "Configuration and folding",
    }
    for pair in pairwise(step for step in steps if step in files):
        if pair in causes:
            before, after = (files[engine] for engine in pair)
            yield (
                f"{causes[pair]}: from {quantizer_title(pair[0])} to {quantizer_title(pair[1])}, "
                f"{_difference(study, before, after)}."
            )
    if "nncf" in files:
        yield (
            f"Quantizer: from {quantizer_title('nncf')} to {ENGINE}, "
            f"{_difference(study, files['nncf'], own)}."
        )
    if not any(BASELINES[engine].is_folded for engine in files if engine in BASELINES):
        yield (
            "No other quantizer was given the folded graph, so what is due to folding and what to "
            'the quantizer is not known: add `"onnxruntime-folded"` to `baselines`.'
        )


def _float_folding(study: Study) -> Iterator[str]:
    """What folding gives without quantization."""
    floats = [e for e in study.floats if e.scheme == "fp32"]
    plain = next((e for e in floats if _is_plain(e)), None)
    folded = next((e for e in floats if not _is_plain(e)), None)
    if plain and folded:
        yield f"Folding alone, in FP32: {_speed_difference(study, plain, folded)}."


def _difference(study: Study, before: Entry, after: Entry) -> str:
    """The change in dB and in speed from one file to another."""
    assert before.comparison and after.comparison  # noqa: S101 - `_files` takes no other
    gain = after.comparison.sqnr_db - before.comparison.sqnr_db
    return (
        f"the SQNR of the logits changes by {'+' if gain > 0 else ''}{number(gain, 1)} dB, and "
        f"{_speed_difference(study, before, after)}"
    )


def _speed_difference(study: Study, before: Entry, after: Entry) -> str:
    measured = speed(after, before, study)
    if measured is None or not measured.valid:
        return "there is no valid timing of both files"
    value, interval = times(measured.times, measured.low, measured.high)
    text = f"the file runs {value} as fast ({interval})"
    if not measured.distinguishable:
        text += ", which is no measurable difference"
    if before.bench and after.bench and _runtime(before) != _runtime(after):
        text += f", in {_runtime(after)} instead of {_runtime(before)}"
    return text


def _runtime(entry: Entry) -> str:
    """The runtime without its version."""
    return entry.bench.runtime.partition(" ")[0] if entry.bench else ""
