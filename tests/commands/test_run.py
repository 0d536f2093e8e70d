"""What one run loads, lists, hashes and exports: each thing once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from changed_files import require_named, require_no_path

from edgenext import api
from edgenext.commands import context
from edgenext.data import sources
from edgenext.data.digits import DigitSource
from edgenext.export import deployment_graph

SHORT = {"train": {"epochs": 1}, "quantize": {"n": 16}, "bench": {"rounds": 1}, "limit": 60}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, Counter[Any]]:
    """Counts of what is loaded, by what it is of."""
    counts: dict[str, Counter[Any]] = {}

    def count(owner: object, name: str, key: Callable[..., Any]) -> None:
        function, seen = getattr(owner, name), counts.setdefault(name, Counter())

        def counted(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            seen[key(result, *args)] += 1
            return result

        monkeypatch.setattr(owner, name, counted)

    count(context, "load", lambda checkpoint, *_: checkpoint.sha256)
    count(sources, "content_hash", lambda digest, *_: digest)
    count(DigitSource, "files", lambda _, source, path: (source.role, path))
    count(
        deployment_graph,
        "onnx_graph",
        lambda graph, *_: hashlib.sha256(graph.SerializeToString()).hexdigest(),
    )
    return counts


def test_the_demo_loads_everything_once(tmp_path: Path, calls: dict[str, Counter[Any]]) -> None:
    folder = tmp_path / "demo"
    settings = api.write_demo_toml(tmp_path / "demo.toml")
    config = api.read_config(settings, {**SHORT, "out": folder})
    command = f"edgenext run {tmp_path}/demo.toml --out={folder}"
    files = api.run(config, command=command)
    assert [path.name for path in files] == ["report.html", "report.md", "report.json"]

    assert len(calls["load"]) == 3  # what is trained, what came of it, and its twin
    assert set(calls["files"]) == {("train", ""), ("val", "")}
    assert len(calls["content_hash"]) > 1000
    for name in ("load", "files", "content_hash"):
        assert set(calls[name].values()) == {1}, name
    # the plain and the folded graph, each of the network and of its twin
    assert calls["onnx_graph"].total() == 4

    calls_before = {name: counter.total() for name, counter in calls.items()}
    api.run(config, command=command)  # nothing is made again: the images are listed and hashed
    assert calls["onnx_graph"].total() == calls_before["onnx_graph"]
    assert calls["load"].total() == calls_before["load"] + 3

    require_no_path(folder, tmp_path)
    assert json.loads((folder / "run.json").read_text())["command"] == (
        "edgenext run demo.toml --out=demo"
    )
    report = api.verify(folder)
    assert report.sound and not report.uncovered and report.hashes > 60
    for part in ("training", "twin"):  # the others: tests/cli/test_cli_verify.py
        for path in (p for p in (folder / part).rglob("*") if p.is_file()):
            require_named(folder, path)
