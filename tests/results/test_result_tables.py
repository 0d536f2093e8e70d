"""The published tables are what the JSON files of results/ say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MAIN = tomllib.loads((ROOT / "results" / "names.toml").read_text("utf-8"))["four_rows"]["machine"]
SCRIPT = ROOT / "results" / "tables.py"


def tables(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, str(SCRIPT), "--root", str(root), *words)
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the script reads and writes."""
    shutil.copytree(ROOT / "results", tmp_path / "results")
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/results.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def change(path: Path, keys: list[Any], value: object) -> None:
    """Another value at a place of a JSON file."""
    document = json.loads(path.read_text("utf-8"))
    *outer, last = keys
    table = document
    for key in outer:
        table = table[key]
    table[last] = value
    path.write_text(json.dumps(document), "utf-8")


def published(model: int, row: int) -> tuple[str, str]:
    """Milliseconds and speed of a file, as the tables write them."""
    document = json.loads((ROOT / "results" / f"{MAIN}.json").read_text("utf-8"))
    entry = document["latency"][model]["rows"][row]
    low, high = entry["ci95"]
    speed = f"{entry['speed']:.2f}x ({low:.2f}–{high:.2f})"
    return f"{entry['latency_ms']['p50']:.2f}", speed


def test_the_tables_are_those_of_the_json_files() -> None:
    done = tables(ROOT, "--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_table_of_early_stops_is_that_of_its_json_file() -> None:
    command = (sys.executable, str(ROOT / "results" / "early_stop.py"), "--table")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 22, "a row for each budget, share of flips and drop"
    assert done.stdout in (ROOT / "docs" / "measuring.md").read_text("utf-8")


def test_another_result_is_another_table(checkout: Path) -> None:
    change(checkout / "results" / f"{MAIN}.json", ["latency", 0, "rows", 3, "speed"], 2.5)
    done = tables(checkout, "--check")
    assert done.returncode == 1
    assert "docs/results.md, README.md: not what results/*.json say" in done.stderr
    assert tables(checkout).returncode == 0
    assert tables(checkout, "--check").returncode == 0
    _, before = published(0, 3)
    after = f"2.50x {before.partition(' ')[2]}"
    for name in ("README.md", "docs/results.md"):
        text = (checkout / name).read_text("utf-8")
        assert after in text and before not in text, name


def test_a_figure_that_was_typed_is_found(checkout: Path) -> None:
    readme = checkout / "README.md"
    _, speed = published(0, 3)
    readme.write_text(readme.read_text("utf-8").replace(speed, f"9{speed}"), "utf-8")
    assert "README.md: not what" in tables(checkout, "--check").stderr
    readme.write_text("# no markers\n", "utf-8")
    assert "README.md lacks the markers" in tables(checkout).stderr


def test_what_is_not_valid_is_struck_out_with_its_reason(checkout: Path) -> None:
    path = checkout / "results" / f"{MAIN}.json"
    rows = json.loads(path.read_text("utf-8"))["latency"][1]["rows"]
    index = next(i for i, row in enumerate(rows) if row["name"].startswith("bf16"))
    change(path, ["latency", 1, "rows", index, "valid"], False)
    change(path, ["latency", 1, "rows", index, "reasons"], ["it was hot"])
    assert tables(checkout).returncode == 0
    text = (checkout / "docs" / "results.md").read_text("utf-8")
    ms, speed = published(1, index)
    assert f"~~{ms}~~ | ~~{speed}~~" in text
    assert "- S, BF16, OpenVINO: it was hot." in text


def test_a_twin_with_another_file_contradicts_the_page(checkout: Path) -> None:
    path = checkout / "results" / f"{MAIN}.json"
    rows = json.loads(path.read_text("utf-8"))["accuracy"]
    index = next(i for i, r in enumerate(rows) if r["name"].endswith("edgenext, twin 3"))
    change(path, ["accuracy", index, "graph_sha256"], "0")
    assert "says that twins give the same file" in tables(checkout, "--check").stderr


def test_a_row_without_a_title_is_not_passed_over(checkout: Path) -> None:
    path = checkout / "results" / "avx2.json"
    change(path, ["latency", 0, "rows", 1, "name"], "w2a2")
    assert "names.toml has no title for w2a2" in tables(checkout, "--check").stderr


def test_other_networks_stand_beside_ours(checkout: Path) -> None:
    path = checkout / "results" / "peers" / "table2.json"
    change(path, ["networks", 0, "files", 0, "p50_ms"], 12.345)
    change(path, ["networks", 0, "files", 0, "valid"], False)
    change(path, ["networks", 0, "files", 0, "reasons"], ["it was hot"])
    assert tables(checkout).returncode == 0
    text = (checkout / "docs" / "results.md").read_text("utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| EdgeNeXt-XXS |"))
    assert "~~12.35 (" in row and row.endswith("| 19.3 | 142 |")
    assert "- EdgeNeXt-XXS, fp32, onnxruntime: it was hot." in text


def test_the_other_networks_are_those_of_timm() -> None:
    timm = pytest.importorskip("timm", reason="no timm (pip install 'edgenext[train]')")
    table = tomllib.loads((ROOT / "results" / "peers" / "table2.toml").read_text("utf-8"))
    names = [row["name"] for row in table["network"]]
    assert [name for name in names if not timm.is_model(name)] == []
    assert set(table["published"]["rows"]) < set(names)


def test_the_readme_has_no_measured_figure_outside_its_markers() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    kept = re.sub(r"<!-- figures: .*?<!-- end of figures -->", "", text, flags=re.DOTALL)
    assert not re.findall(r"\d\.\d+x|\d points|\d dB|\d ms\b", kept)
