"""Other tools beside this package: their rows, their scripts, and the tables of their results."""

from __future__ import annotations

import ast
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "results" / "peers"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts of results/ import each other by name."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(PEERS), str(ROOT / "results"), *sys.path])
    yield
    for name in set(sys.modules) - before:
        path = getattr(sys.modules[name], "__file__", None) or ""
        if path.startswith(str(ROOT / "results")):
            del sys.modules[name]


def functions(path: Path) -> set[str]:
    """The names of a module's functions, without importing what it imports."""
    tree = ast.parse(path.read_text("utf-8"))
    compile(tree, str(path), "exec")
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    imported = [n for n in tree.body if isinstance(n, ast.ImportFrom)]
    return names | {alias.name for node in imported for alias in node.names}


def test_every_row_has_its_script_its_environment_and_ours_beside_it() -> None:
    from rival_rows import read_rivals

    table = read_rivals()
    by_name = {file.name: file for file in table.files}
    assert len(by_name) == len(table.files)
    for file in table.files:
        module, _, name = file.make.partition(":")
        assert name in functions(PEERS / "makers" / f"{module}.py"), file.make
        assert not file.environment or file.environment in table.environments
        if file.runtime:
            runtime = PEERS / "runtimes" / f"{file.runtime}.py"
            assert {"preload", "open_session"} <= functions(runtime)
            assert file.environment, "it runs in an environment of its own"
        else:
            assert file.target
        if file.beside:
            assert by_name[file.beside].is_ours
        else:
            assert file.make.startswith("ours:")
    used = {file.make.partition(":")[0] for file in table.files} | {"maker"}
    assert used == {path.stem for path in (PEERS / "makers").glob("*.py")}, "no script is unused"
    assert {file.environment for file in table.files} - {""} == set(table.environments)
    packages = [package for pins in table.environments.values() for package in pins]
    assert [package for package in packages if "==" not in package] == []


def made(name: str, case: str = "network", **values: Any) -> dict[str, Any]:
    row = {
        "name": name, "case": case, "call": "f(x)", "size_bytes": 2_000_000, "sha256": "0",
        "seconds": 10.0, "peak_mb": 1000.0, "load": 0.1, "versions": {"tool": "1.2"}, "error": "",
    }  # fmt: skip
    return row | values


def scored(name: str, case: str, sqnr_db: float) -> dict[str, Any]:
    interval = {"points": 0.5, "ci95": [0.1, 0.9], "lost": 30, "gained": 5}
    return {
        "name": name, "case": case, "n": 5000, "top1": 30.0, "drop": interval,
        "agreement": 95.0, "sqnr_db": sqnr_db,
    }  # fmt: skip


def timed(name: str, p50_ms: float, ours: tuple[float, float, float] | None) -> dict[str, Any]:
    values = ratio(*ours) if ours else None
    return {"name": name, "p50_ms": p50_ms, "valid": True, "reasons": [], "ours": values}


def ratio(median: float, low: float, high: float) -> dict[str, Any]:
    return {"median": median, "ci95": [low, high], "valid": True}


@pytest.fixture
def results() -> dict[str, Any]:
    """What a measurement of two files writes."""
    theirs, own = "nncf-mixed", "ours-openvino"
    return {
        "environment": {"cpu": "a CPU", "isa": ["avx2"], "cores": 2},
        "dates": {"accuracy": "2026-11-30"},
        "command": "make bench-peers",
        "made": [made(theirs, seconds=12.0), made(own, peak_mb=1001.0)],
        "accuracy": [
            scored(theirs, "network", 24.0), scored(theirs, "twin 0", 9.0),
            scored(theirs, "twin 1", 8.0), scored(own, "network", 31.0),
            scored(own, "twin 0", 31.0),
        ],
        "latency": [
            {
                "case": "XXS, 256 px", "noise_floor": 0.02, "errors": {},
                "rows": [timed(theirs, 8.0, (1.6, 1.5, 1.7)), timed(own, 5.0, None)],
            }
        ],
    }  # fmt: skip


def section(folder: Path, results: dict[str, Any], why: str = "") -> str:
    from rivals_section import rivals

    text = (PEERS / "rivals.toml").read_text("utf-8").partition("\n[why]\n")[0]
    (folder / "rivals.toml").write_text(f"{text}\n{why}", "utf-8")
    (folder / "rivals-x.json").write_text(json.dumps(results), "utf-8")
    return rivals(folder)


def row_of(text: str, title: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {title}"))


def test_a_row_is_what_the_json_says(tmp_path: Path, results: dict[str, Any]) -> None:
    text = section(tmp_path, results)
    title = "INT8, `nncf.quantize`, mixed, transformer"
    assert row_of(text, title) == (
        f"| {title} | NNCF | 12 | 1000 | 2.00 | 0.50 (0.10 to 0.90) | 95.0 | 24.0 | 8.0 to 9.0 |"
    )
    assert f"| {title} | NNCF | 8.00 | 1.60x (1.50–1.70) |" in text
    assert f"| {title} | NNCF | `f(x)` | tool 1.2 |" in text
    assert "Noise floor 2.0 % (XXS, 256 px)" in text
    assert "Where ours does not lead" not in text


def test_an_error_is_in_the_tools_own_words(tmp_path: Path, results: dict[str, Any]) -> None:
    results["made"][0]["error"] = "ValueError: no kernel for this"
    results["accuracy"] = results["accuracy"][3:]
    text = section(tmp_path, results)
    assert "| no file |" in row_of(text, "INT8, `nncf.quantize`, mixed")
    assert "- NNCF, INT8, `nncf.quantize`, mixed, transformer (network): `ValueError: no" in text


@pytest.mark.parametrize(
    ("measure", "change", "figures"),
    [
        ("sqnr", lambda r: r["accuracy"][3].update(sqnr_db=23.8), "ours 23.8 dB, 24.0"),
        ("twin", lambda r: r["accuracy"][4].update(sqnr_db=7.5), "ours 7.5 dB, 8.0"),
        ("speed", lambda r: r["latency"][0]["rows"][0].update(ours=ratio(0.9, 0.85, 0.95)),
         "XXS, 256 px 0.90x (0.85–0.95)"),
        ("seconds", lambda r: r["made"][0].update(seconds=5.0), "ours 10 s, 5"),
        ("memory", lambda r: r["made"][0].update(peak_mb=100.0), "ours 1001 MiB, 100"),
    ],
)  # fmt: skip
def test_where_ours_is_behind_the_reason_must_be_given(
    tmp_path: Path, results: dict[str, Any], measure: str, change: Any, figures: str
) -> None:
    change(results)
    with pytest.raises(KeyError, match=rf"no reason \[why.nncf-mixed\] {measure}"):
        section(tmp_path, results)
    text = section(tmp_path, results, f'[why.nncf-mixed]\n{measure} = "It is as it is."')
    line = next(line for line in text.splitlines() if line.endswith("). It is as it is."))
    assert f": NNCF, INT8, `nncf.quantize`, mixed, transformer ({figures}). It" in line


def test_what_the_noise_hides_is_not_behind(tmp_path: Path, results: dict[str, Any]) -> None:
    results["latency"][0]["rows"][0]["ours"] = ratio(0.99, 0.96, 1.02)
    assert "does not lead" not in section(tmp_path, results)


@pytest.mark.slow
def test_a_file_of_another_tool_is_made_and_timed_in_turns(tmp_path: Path) -> None:
    """The real makers, runtime and worker, in this environment instead of installed ones."""
    from rival_files import Workshop
    from rival_inputs import Case
    from rival_rows import read_rivals
    from rival_speed import latency

    from edgenext.options import ModelOptions

    table = read_rivals()
    by_name = {file.name: file for file in table.files}
    rows = [
        by_name["onnxruntime-float"],
        replace(by_name["onnxruntime-tuned"], environment=""),
        replace(by_name["torch-eager"], environment=""),
        replace(by_name["nncf-mixed"], name="broken", environment="", make="mnn_files:convert"),
    ]
    workshop = Workshop(table, tmp_path)
    case = Case("tiny", "edgenext_xx_small", ModelOptions(random_weights=True, size=32), None)
    files = {row.name: (row, workshop.make(row, case)) for row in rows}
    tuned = files["onnxruntime-tuned"][1]
    assert tuned.error == "" and tuned.seconds > 0 and tuned.peak_mb > 50
    assert tuned.call.startswith("quant_pre_process(graph); quantize_static(graph, out, reader, ")
    assert tuned.versions and "onnxruntime" in tuned.versions
    assert "mnnconvert" in files.pop("broken")[1].error
    written = Path(tuned.file).stat().st_mtime_ns
    assert workshop.make(rows[1], case) == tuned
    assert Path(tuned.file).stat().st_mtime_ns == written, "it is not made twice"

    entry = latency(workshop, case, files, rounds=2)
    assert entry["errors"] == {}
    runtimes = {row["name"]: row["runtime"] for row in entry["rows"]}
    assert runtimes == {
        "onnxruntime-float": "onnxruntime",
        "onnxruntime-tuned": "onnxruntime",
        "torch-eager": "torch",
    }
    assert all(row["p50_ms"] > 0 and not row["valid"] for row in entry["rows"]), "two rounds"
