"""`edgenext quantize --max-drop`: the search, its resumption and its refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from changed_files import require_named
from cli_calls import MODEL, NAME, Cli

from edgenext.commands import search
from edgenext.options import BenchOptions

SEARCH = ("quantize", *MODEL, "--calib", "digits", "-n", "8", "--data", "digits", "--limit", "200")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two variants of a few sites, and few inferences: what is tested is whether it works."""
    from functools import partial

    from edgenext.quantize import mixed_precision

    monkeypatch.setattr(mixed_precision, "STEPS", (4,))
    monkeypatch.setattr(search, "sensitivity", partial(search.sensitivity, site="stages.0.*"))
    whole = search.bench_artifacts
    monkeypatch.setattr(
        search,
        "bench_artifacts",
        lambda artifacts, _, progress: whole(artifacts, BenchOptions(rounds=2), progress),
    )


@pytest.mark.slow
def test_a_search_finds_resumes_and_reports(cli: Cli, short: None) -> None:
    done = cli.ok(*SEARCH, "--max-drop", "90", "--json")
    report = done.json
    names = [c["comparison"]["artifact"] for c in report["candidates"]]
    assert names == [f"{NAME}-{k}" for k in ("fp32", "w8a8-static", "w8a8-static-keep4")]
    assert report["met"] and report["chosen"] in names[1:]
    assert report["choosing"]["n"] + report["reporting"]["n"] == 200
    assert report["choosing"]["sha256"] != report["reporting"]["sha256"]
    kept = report["candidates"][2]["kept_float"]
    assert sum(reason.startswith("search: alone it makes") for reason in kept.values()) == 4
    assert report["candidates"][0]["speed"] == 1 and Path(report["path"]).is_file()
    assert "stays under the budget of 90 points" in report["sentence"]

    folder = Path(f"{NAME}-search")
    assert cli.folder.name not in (folder / "search.json").read_text()
    cli.ok("verify", folder)
    for path in folder.iterdir():
        if path.suffix in (".json", ""):
            require_named(folder, path)

    # stopped half-way, it makes only what is missing
    (folder / f"{names[2]}.onnx").unlink()
    again = cli.ok(*SEARCH, "--max-drop", "90", "--json")
    assert "quantize w8a8-static: unchanged" in again.err
    assert "quantize w8a8-static-keep4\n" in again.err
    assert json.loads((folder / "search.json").read_text()) == again.json
    assert again.json == report

    table = cli.ok(*SEARCH, "--max-drop", "0").out
    assert "No candidate is shown to stay under the budget of 0 points" in table
    assert "images would" in table or "no number of images" in table
    small = cli.ok(*SEARCH, "--max-drop", "90", "--objective", "size", "--json").json
    sizes = {c["comparison"]["artifact"]: c["size_bytes"] for c in small["candidates"][1:]}
    assert sizes[small["chosen"]] == min(sizes.values())
    share = min(sizes.values()) / small["candidates"][0]["size_bytes"]
    assert f", at {share:.2f}x the size of the float file" in small["sentence"]


def test_searches_that_are_refused(cli: Cli) -> None:
    assert "labelled images" in cli.fails(2, "quantize", *MODEL, "--max-drop", "1")
    assert "--max-drop -1 is not a number of points" in cli.fails(2, *SEARCH, "--max-drop", "-1")
    assert "latency" in cli.fails(2, *SEARCH, "--max-drop", "1", "--objective", "latancy")
    error = cli.fails(2, *SEARCH, "--max-drop", "1", "--engine", "onnxruntime")
    assert "nothing to search" in error
    error = cli.fails(2, *SEARCH, "--max-drop", "1", "--scheme", "w8-weight-only")
    assert "nothing to search" in error
    error = cli.fails(2, *SEARCH, "--max-drop", "1", "--target", "tflite")
    assert "makes and measures ONNX, not tflite" in error
    error = cli.fails(2, *SEARCH, "--max-drop", "1", "--target", "jetson")
    assert "this CPU's latency says nothing of a Jetson. Use --objective size" in error
