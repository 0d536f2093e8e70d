from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import matplotlib
import pytest
from report_runs import BUSY, FOLDED, INT8, PLAIN, measured, save, sha, summary

from edgenext.errors import OutputError
from edgenext.report import write_report
from edgenext.report.evidence import EVIDENCE
from edgenext.report.load import load_summary
from edgenext.report.study import study_of
from edgenext.report.verdict import judge
from edgenext.schema import Evidence, RunSummary

VOID = {"meta", "link", "br", "img", "input", "hr"}
HOSTILE = "<script>alert('1')</script>&\"$x$ `|` [a](http://example.com) ![b](c) *d* \u202e"
STAGES = {"stem": 38.2, "stage1": 35.1, "stage2": 32.0, "stage3": 27.4, "stage4": 25.9}


class Outline(HTMLParser):
    """Checks that tags nest, and keeps what a browser would load, run, show or name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.struck: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"style", "script"}.isdisjoint(self.open):
            self.texts.append(data)
        if "s" in self.open:
            self.struck.append(data)


def report(folder: Path, run: RunSummary, arrays: object = None, **options: object) -> list[str]:
    save(folder, run, arrays)  # type: ignore[arg-type]
    paths = write_report(folder, **options)  # type: ignore[arg-type]
    return [p.read_text(encoding="utf-8") for p in paths[:3]]


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_three_files_are_written_where_asked(tmp_path: Path) -> None:
    folder = save(tmp_path / "run", summary())
    assert [p.name for p in write_report(folder)] == ["report.html", "report.md", "report.json"]
    assert sorted(p.name for p in folder.iterdir()) == [
        "report.html", "report.json", "report.md", "run.json"
    ]  # fmt: skip
    paths = write_report(folder, tmp_path / "new" / "place")
    assert all(p.parent == tmp_path / "new" / "place" and p.is_file() for p in paths)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    folder = save(tmp_path / "run", summary())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        write_report(folder, tmp_path / "file")


def test_the_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    run, arrays = measured(stages=STAGES)
    html, _, _ = report(tmp_path, run, arrays)
    page = Outline(html)
    assert html.startswith("<!doctype html>")
    assert {"link", "iframe", "object", "embed", "image"}.isdisjoint(page.tags)
    assert page.tags.count("script") == 1
    assert page.tags.count("svg") == 4
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "xlink:href", "action", "poster", "data", "srcset"):
            assert value.startswith(("#", "data:image/jpeg;base64,")), (name, value)
        if name == "href":
            assert re.fullmatch(r"[\w./-]+\.(csv|onnx)", value), "a file beside the page"
    assert "@import" not in html
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))
    assert ("http-equiv", "Content-Security-Policy") in page.attributes
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = {v[1:] for n, v in page.attributes if n == "xlink:href"}
    links |= set(re.findall(r"url\(#([^)]*)\)", html))
    assert links <= set(ids)


def test_everything_is_in_the_page_and_in_the_markdown(tmp_path: Path) -> None:
    run, arrays = measured(corrupt=("val/n01/broken.JPEG",))
    html, markdown, _ = report(tmp_path, run, arrays)
    shown = squeezed(" ".join(Outline(html).texts))
    for line in judge(study_of(run)).lines[:3]:
        assert line in shown and line in markdown
    for text in (
        *(a.sha256 for a in run.artifacts),
        run.weights_sha256,
        sha("evaluation"),
        sha("calibration"),
        run.command,
        "val/n01/broken.JPEG",
        "1 image that could not be decoded",
        "all 3,000 images",
        "128 of 5,000 images: a subset stratified by class (seed 0)",
        "the two sets share no image",
        "AMD EPYC 7B13",
        "onnxruntime 1.32.0",
        "export 21 s, quantize 8.2 s, eval 3 min 21 s, bench 1 min 4 s",
        "How to read this",
        "host",
    ):
        assert text in shown, text
        assert text in markdown, text


def test_the_table_holds_what_was_measured(tmp_path: Path) -> None:
    run, arrays = measured()
    html, markdown, _ = report(tmp_path, run, arrays)
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in markdown.splitlines()
        if line.startswith("|")
    }
    drop = run.compare.others[1].drop
    assert rows["Figure"] == ["FP32 plain", "FP32 folded", "w8a8-static"]
    assert rows["Lost / gained, images"] == ["–", "0 / 0", f"{drop.lost} / {drop.gained}"]
    assert rows["Top-1, %"][:3] == [f"{r.top1:.2f}" for r in run.eval.results]
    p50 = [r.latency_ms.p50 for r in run.bench.results]
    assert rows["Latency p50, ms"][:3] == [f"{p:.3g}" for p in p50]
    assert rows["File, FP32 plain = 1"][:3] == ["1", "0.99x", "0.31x"]
    assert rows["Speed, FP32 folded = 1"][:2] == ["–", "1"]
    cells = {squeezed(t) for t in Outline(html).texts}
    assert {f"{p:.3g}" for p in p50} <= cells


def test_evidence_is_said_once_or_in_every_row(tmp_path: Path) -> None:
    run = summary()
    *floats, int8 = run.bench.results
    mixed = run.bench.model_copy(
        update={"results": (*floats, int8.model_copy(update={"evidence": "device"}))}
    )
    html, markdown, _ = report(tmp_path, run)
    for document in (html, markdown):
        assert "Evidence of every figure: host, measured on the CPU" in document
        assert ">Evidence<" not in document and "| Evidence |" not in document
        assert "| host |" not in document and ">host</span>" not in document
    html, markdown, _ = report(tmp_path, run.model_copy(update={"bench": mixed}))
    assert "Evidence of every figure" not in html + markdown
    lines = [x for x in markdown.split("## How")[0].splitlines() if x.startswith("| ")]
    figures = [x for x in lines if not x.startswith(("| **", "| Figure", "| ---"))]
    assert len(figures) > 15
    assert all("host" in x or "device" in x for x in figures)
    assert any("device" in x for x in figures)


def test_six_figures_decide_and_the_others_are_folded(tmp_path: Path) -> None:
    run, arrays = measured()
    html, markdown, _ = report(tmp_path, run, arrays)
    short, _, rest = markdown.partition("<summary>All figures</summary>")
    rows = [x for x in short.partition("## Results")[2].splitlines() if x.startswith("| ")][2:]
    assert [x.split(" | ")[0].strip("| ") for x in rows] == [
        "Top-1, %", "Top-1 drop, points", "Same answer as the base, %", "Latency p50, ms",
        "Speed, FP32 plain = 1", "File, MiB",
    ]  # fmt: skip
    for figure in ("McNemar", "KL divergence", "Load, ms", "Top-5, %"):
        assert figure not in short and figure in rest
    before, _, after = html.partition("<h2>Results</h2>")
    assert 'id="tradeoff' in before and 'id="rounds' in after
    assert before.index('class="verdict') < before.index('class="tiles"') < before.index("<svg")
    folded = html[html.index("Where the figures come from") :]
    assert folded.index("<details>") < folded.index(sha("evaluation"))


@pytest.mark.parametrize(("classes", "shown"), [(3, False), (5, False), (10, True), (None, True)])
def test_no_top_5_of_so_few_classes(tmp_path: Path, classes: int | None, shown: bool) -> None:
    run = summary().model_copy(update={"num_classes": classes})
    html, markdown, _ = report(tmp_path, run)
    assert ("Top-5" in html, "Top-5" in markdown) == (shown, shown)


def test_a_reason_that_several_timings_share_is_said_once(tmp_path: Path) -> None:
    run = summary(reasons={PLAIN: (BUSY, "another"), FOLDED: (BUSY,), INT8: (BUSY,)})
    _, markdown, _ = report(tmp_path, run)
    notes = markdown.partition("## Results")[2].partition("<details>")[0]
    assert notes.count("close them and measure again") == 1
    assert f"The timings of FP32 plain, FP32 folded and w8a8-static are not valid: {BUSY}." in notes
    assert "The timing of FP32 plain is not valid: another." in notes


def test_a_timing_that_is_not_valid_is_struck_out_with_its_reason(tmp_path: Path) -> None:
    run = summary(reasons={INT8: (BUSY,)})
    html, markdown, _ = report(tmp_path, run)
    page = Outline(html)
    p50 = {r.artifact: f"{r.latency_ms.p50:.3g}" for r in run.bench.results}
    assert p50[INT8] in page.struck
    assert p50[PLAIN] not in page.struck
    assert p50[FOLDED] not in page.struck
    assert f"~~{p50[INT8]}~~" in markdown
    for text in (squeezed(" ".join(page.texts)), markdown):
        assert f"The timing of w8a8-static is not valid: {BUSY}." in text
        assert "Struck out" in text
    assert "<s>" not in report(tmp_path, summary())[0]


@pytest.mark.parametrize("evidence", ["simulator", "emulated"])
def test_a_simulated_latency_is_never_printed(tmp_path: Path, evidence: str) -> None:
    run = summary(evidence=evidence)  # type: ignore[arg-type]
    html, markdown, _ = report(tmp_path, run)
    for text in (" ".join(Outline(html).texts), markdown):
        assert "Latency p50" not in text
        assert "x as fast as" not in text
        assert f"is not shown: its evidence is {evidence}." in text
    assert 'id="rounds-' not in html


def test_a_subset_is_said(tmp_path: Path) -> None:
    html, markdown, _ = report(tmp_path, summary(n=500, n_total=5000))
    for text in (html, markdown):
        assert "500 of 5,000 images: a subset stratified by class (seed 0)" in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    run = summary(model=HOSTILE, corrupt=(HOSTILE, "</style></svg>\n# title"))
    artifacts = [a.model_copy(update={"scheme": HOSTILE}) for a in run.artifacts[2:]]
    run = run.model_copy(
        update={
            "artifacts": (*run.artifacts[:2], *artifacts),
            "command": f"edgenext run ``{HOSTILE}``",
            "weights": HOSTILE,
        }
    )
    html, markdown, _ = report(tmp_path, run)
    page = Outline(html)
    assert page.tags.count("script") == 1, "its own"
    assert not any(n in ("href", "src") for n, _ in page.attributes)
    assert "<script>alert('1')</script>&\"$x$ `|` [a]" in squeezed(" ".join(page.texts))
    assert "\u202e" not in html + markdown
    assert "</style></svg> # title" in squeezed(" ".join(page.texts))
    # Code spans show what they hold as it is, so that the command is the only line with a tag.
    command, prose = [], []
    for line in markdown.splitlines():
        (command if line.startswith("| Command |") else prose).append(line)
    assert [x.count("<script>") for x in command] == [1]
    assert command[0].startswith("| Command | ``` edgenext run ``<script>")
    assert command[0].endswith("`` ``` |")
    assert prose[0].startswith(
        "# &lt;script&gt;alert('1')&lt;/script&gt;&amp;\"$x$ \\`\\|\\` \\[a\\]("
    )
    own = re.compile(r"</?details>(<summary>[\w ,]+</summary>)?")
    prose = [x for x in prose if not own.fullmatch(x)]
    assert not any("<" in x or "[a](" in x or " *d* " in x for x in prose)
    table = [x for x in markdown.splitlines() if x.startswith("| Top-1")]
    assert {len(re.findall(r"(?<!\\)\|", x)) for x in table} == {5}


def test_the_json_is_the_run_and_the_verdict(tmp_path: Path) -> None:
    run = summary()
    document = json.loads(report(tmp_path, run, budget=0.25)[2])
    verdict = document.pop("verdict")
    assert RunSummary.model_validate(document) == run
    assert verdict == judge(study_of(run), 0.25).model_dump(mode="json")
    assert verdict["pays"] is None
    assert load_summary(tmp_path) == run


def test_the_budget_reaches_every_file(tmp_path: Path) -> None:
    html, markdown, _ = report(tmp_path, summary(), budget=0.5)
    assert "the budget of 0.5 points" in html
    assert "the budget of 0.5 points" in markdown
    assert "budget 0.5 points" in html


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run, arrays = measured(stages=STAGES)
    first = report(tmp_path / "a", run, arrays)
    with matplotlib.rc_context({"axes.facecolor": "red", "svg.fonttype": "path", "font.size": 30}):
        assert report(tmp_path / "b", run, arrays) == first
    code = "import sys, pathlib, edgenext.report as r; r.write_report(pathlib.Path(sys.argv[1]))"
    folder = save(tmp_path / "c", run, arrays)
    subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
    )
    assert [(folder / n).read_text() for n in ("report.html", "report.md", "report.json")] == first


def test_plots_leave_no_trace_in_matplotlib(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    report(tmp_path, summary())
    assert dict(matplotlib.rcParams) == before


def test_every_evidence_label_has_a_meaning() -> None:
    assert set(EVIDENCE) == set(get_args(Evidence))


def test_importing_the_report_is_light() -> None:
    code = (
        "import sys, edgenext.report; "
        "print([m for m in ('torch', 'matplotlib', 'onnxruntime', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"
