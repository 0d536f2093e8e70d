"""`edgenext search`: its result, its resumption and its refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from changed_files import require_named
from cli_calls import MODEL, NAME, Cli

from edgenext import api
from edgenext.commands import search
from edgenext.errors import UsageError
from edgenext.options import BenchOptions
from edgenext.schema import BenchReport

SEARCH = ("search", *MODEL, "--calib", "digits", "-n", "8", "--data", "digits", "--limit", "200")


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


def one_line(text: str) -> str:
    """Text without the line breaks of a terminal."""
    return " ".join(text.split())


@pytest.mark.slow
def test_a_search_finds_resumes_and_reports(
    cli: Cli, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = cli.ok(*SEARCH, "--max-drop", "90", "--json")
    report = done.json
    assert "too few" not in done.err, "a hundred images can show a budget of 90 points"
    assert report["noise_floor"] >= 0.02 and report["least_images"] == 3
    base = report["candidates"][0]
    assert base["meets"] and base["comparison"]["drop"]["points"] == 0
    names = [c["comparison"]["artifact"] for c in report["candidates"]]
    kinds = ("fp32", "w8a8-static", "w8a8-static-keep4", "w8a8-static-relu")
    assert names == [f"{NAME}-{kind}" for kind in kinds]
    assert report["met"] and report["chosen"] in names[1:]
    assert report["choosing"]["n"] + report["reporting"]["n"] == 200
    assert report["choosing"]["sha256"] != report["reporting"]["sha256"]
    kept = report["candidates"][2]["kept_float"]
    assert sum(reason.startswith("search: alone it makes") for reason in kept.values()) == 4
    assert report["candidates"][0]["speed"] == 1 and Path(report["path"]).is_file()
    assert "stays under the budget of 90 points" in report["sentence"]

    folder = Path(f"{NAME}-search")
    relu = json.loads((folder / f"{names[3]}.onnx.json").read_text())
    assert relu["recipe"]["hard_gelu"]["function"] == "Relu" and relu["recipe"]["gate"] is None
    assert cli.folder.name not in (folder / "search.json").read_text()
    cli.ok("verify", folder)
    for path in folder.iterdir():
        if path.is_file() and path.suffix in (".json", ""):
            require_named(folder, path)

    # stopped half-way, it makes only what is missing
    (folder / f"{names[2]}.onnx").unlink()
    again = cli.ok(*SEARCH, "--max-drop", "90", "--json")
    assert "quantize w8a8-static: unchanged" in again.err
    assert "quantize w8a8-static-keep4\n" in again.err
    assert json.loads((folder / "search.json").read_text()) == again.json
    scores = [[c["comparison"] for c in r["candidates"]] for r in (report, again.json)]
    assert scores[0] == scores[1], "a noisy benchmark alone is measured again"

    other = cli.run(*SEARCH, "--max-drop", "90", "--weight-seed", "1")
    assert other.code == 6 and "holds another network's work: weights" in other.err

    half = cli.run(*SEARCH, "--max-drop", "0.5")
    told = one_line(half.err)
    assert "100 images choose and 100 report, which is too few for a budget of 0.5" in told
    least = re.search(r"At least ([\d,]+) labelled images can show it", told)
    assert least and least[1] == "2,456", told  # twice what a sequence without a flip needs
    first = next(line for line in half.out.splitlines() if f"{NAME}-fp32 " in line)
    assert "base" in first and " no" not in first
    final = json.loads((folder / "search.json").read_text())["final"]["drop"]
    low, high = final["ci95"]
    undecided = "cannot tell" in half.out or "would tell" in half.out
    assert undecided == (low <= 0.5 <= high)
    assert half.code == (14 if undecided else 13), "no file was found"
    last = one_line(half.err.splitlines()[-1])
    assert last.startswith(f"edgenext: {'undecided' if undecided else 'not met'}: {NAME}")
    assert "drop >= 0.5: drop is " in last
    small = cli.ok(*SEARCH, "--max-drop", "90", "--objective", "size", "--json").json
    sizes = {c["comparison"]["artifact"]: c["size_bytes"] for c in small["candidates"][1:]}
    assert sizes[small["chosen"]] == min(sizes.values())
    share = min(sizes.values()) / small["candidates"][0]["size_bytes"]
    assert f", at {share:.2f}x the size of the float file" in small["sentence"]

    # a benchmark that was disturbed is measured again, until it is not
    quiet = search.bench_artifacts

    def disturbed(*args: Any) -> BenchReport:
        report = quiet(*args)
        results = [r.model_copy(update={"noisy": True}) for r in report.results]
        return report.model_copy(update={"results": tuple(results)})

    monkeypatch.setattr(search, "bench_artifacts", disturbed)
    (folder / "bench.json").unlink()
    assert "benchmark\n" in cli.ok(*SEARCH, "--max-drop", "90").err
    monkeypatch.setattr(search, "bench_artifacts", quiet)
    assert "benchmark\n" in cli.ok(*SEARCH, "--max-drop", "90").err
    assert "benchmark: unchanged" in cli.ok(*SEARCH, "--max-drop", "90").err


@pytest.mark.campaign
def test_another_graph_is_searched_in_a_folder_of_its_own(cli: Cli, short: None) -> None:
    zero = cli.run(*SEARCH, "--max-drop", "0", "--json")
    assert zero.code == (13 if zero.json["final"]["drop"]["ci95"][0] >= 0 else 14), zero.err
    assert "no number of images can show a budget of 0 points" in one_line(zero.err)
    assert zero.json["candidates"][0]["meets"], "the base has no drop"
    pixels = cli.ok(*SEARCH, "--max-drop", "90", "--json", "--uint8-input", "--batch=dynamic").json
    assert Path(pixels["path"]).parent == Path(f"{NAME}-batch-dynamic-uint8-search")
    manifest = json.loads(Path(f"{pixels['path']}.json").read_text())
    assert (manifest["input"]["dtype"], manifest["input"]["shape"][0]) == ("uint8", -1)
    hashes = [{c["comparison"]["sha256"] for c in r["candidates"]} for r in (zero.json, pixels)]
    assert not hashes[0] & hashes[1]


def test_searches_that_are_refused(cli: Cli) -> None:
    assert "search needs --data" in cli.fails(2, "search", *MODEL, "--max-drop", "1")
    error = cli.fails(2, "quantize", *MODEL, "--calib", "digits", "--max-drop", "1")
    assert "quantize has no --max-drop: it is an option of search" in error
    assert "For example: edgenext search --weights" in error
    assert "--max-drop -1 is not a number of points" in cli.fails(2, *SEARCH, "--max-drop", "-1")
    assert "latency" in cli.fails(2, *SEARCH, "--max-drop", "1", "--objective", "latancy")
    options = api.QuantizeOptions(engine="onnxruntime", calib="digits")
    with pytest.raises(UsageError, match="engine onnxruntime has nothing to search"):
        api.search(MODEL[0], "digits", options)
    error = cli.fails(2, *SEARCH, "--max-drop", "1", "--scheme", "w8-weight-only")
    assert "nothing to search" in error
    error = cli.fails(2, *SEARCH, "--max-drop", "1", "--target", "tflite")
    assert "makes and measures ONNX, not tflite" in error
    error = cli.fails(2, *SEARCH, "--max-drop", "1", "--target", "jetson")
    assert "this CPU's latency says nothing of a Jetson. Use --objective size" in error
