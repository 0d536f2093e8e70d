from __future__ import annotations

from pathlib import Path

import pytest
from report_runs import ratios, save, summary, timed

from edgenext.benchmark.published import published_latencies
from edgenext.errors import InputError
from edgenext.report import write_report
from edgenext.schema import BenchReport, DeviceFacts, RunSummary, Sustained, Telemetry


def on_jetson(run: RunSummary) -> BenchReport:
    """The run's files on a board: the first invalid, the second with a power rail."""
    first, *others = run.bench.results
    changes = {"device": "orin", "evidence": "device", "unit": "tensorrt", "unit_asked": "tensorrt"}
    rows = [
        first.model_copy(update=changes | {"valid": False, "reasons": ("it was hot",)}),
        *(
            row.model_copy(
                update=changes
                | {
                    "telemetry": Telemetry(seconds=3, samples=15, energy_mj=41.25),
                    "sustained": Sustained(
                        seconds=600, first_third_ms=2, last_third_ms=2.5, drift=0.25
                    ),
                }
            )
            for row in others
        ),
    ]
    return BenchReport(
        results=tuple(rows),
        ratios=ratios(rows),
        device=DeviceFacts(kind="jetson", model="Jetson Orin Nano", notes=("fan off",)),
        published=published_latencies("jetson", [("edgenext_xx_small", "256×256")]),
    )


def put(folder: Path, report: BenchReport) -> None:
    (folder / "devices").mkdir()
    (folder / "devices/orin.json").write_text(report.model_dump_json())


def test_devices_stand_in_the_report_beside_published_figures(tmp_path: Path) -> None:
    run = summary()
    save(tmp_path, run)
    put(tmp_path, on_jetson(run))
    html, markdown, _ = (path.read_text() for path in write_report(tmp_path))
    for document in (html, markdown):
        assert "On orin, Jetson Orin Nano" in document
        assert "19.3" in document and "published" in document and "Maaz et al." in document
        assert "is not valid: it was hot" in document and "fan off" in document
        assert "41.2" in document and "10.0 minutes" in document
    section = markdown.partition("## On orin")[2].partition("\n## ")[0]
    assert "~~" in section.splitlines()[4], "what is not valid is struck out"
    assert "is not a file of this run" not in section


def jetson_run() -> RunSummary:
    """A run whose files are for a Jetson, timed on a CPU, where INT8 is slow."""
    run = summary(ms=(12.8, 10.0, 30.0))
    artifacts = tuple(a.model_copy(update={"target": "jetson"}) for a in run.artifacts)
    return run.model_copy(update={"artifacts": artifacts})


def on_orin(run: RunSummary, **changes: str) -> BenchReport:
    """Its files on a board, where INT8 is fast."""
    rows = [
        timed(row.artifact, ms).model_copy(
            update={"device": "orin", "evidence": "device", "unit": "tensorrt"} | changes
        )
        for row, ms in zip(run.bench.results, (3.0, 2.8, 1.4), strict=True)
    ]
    about = DeviceFacts(kind="jetson", model="Jetson Orin Nano")
    return BenchReport(results=tuple(rows), ratios=ratios(rows), device=about)


def test_a_cpu_does_not_say_whether_int8_pays_on_a_jetson(tmp_path: Path) -> None:
    save(tmp_path, jetson_run())
    html, markdown, _ = (path.read_text() for path in write_report(tmp_path))
    for document in (html, markdown):
        assert "NOT DECIDED: net-w8a8-static.onnx" in document
        assert "? speed: nothing was timed there (measure it with edgenext bench" in document
        files = "net-fp32.onnx net-w8a8-static.onnx"
        next_command = f"edgenext bench {files} --device jetson -o devices/jetson.json"
        assert next_command in document
        assert "(measure it with edgenext bench --device jetson)" in document
        assert "are for a Jetson: the verdict does not use their latency on this" in document
        assert "x as fast as" not in document.partition("Results")[0]
    assert "| Latency p50, ms | 12." in markdown, "shown for what it is"
    assert "= 1 |" not in markdown.partition("**Speed")[2].partition("**Footprint")[0]


def test_a_jetsons_times_say_it(tmp_path: Path) -> None:
    run = jetson_run()
    save(tmp_path, run)
    put(tmp_path, on_orin(run))
    markdown = write_report(tmp_path)[1].read_text()
    decision, _, fast, accurate, _ = markdown.splitlines()[2:7]
    assert decision == "**SHIP net-w8a8-static.onnx**"
    assert "✓ speed: 2.0" in fast and "x as fast as FP32 folded" in fast
    assert "✓ accuracy: 0.06 points of top-1 lost" in accurate
    assert "**Speed (orin, " in markdown and "| Latency p50, ms | 3.0" in markdown
    assert "12.8" not in markdown.partition("**Speed")[2].partition("**Footprint")[0]
    assert "count" not in markdown.partition("**Footprint")[2].partition("##")[0]


@pytest.mark.parametrize(
    "changes", [{"unit": "cpu"}, {"evidence": "emulated"}], ids=["CPU", "emulated"]
)
def test_times_of_another_unit_or_of_an_emulator_do_not(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    run = jetson_run()
    save(tmp_path, run)
    put(tmp_path, on_orin(run, **changes))
    assert "**NOT DECIDED" in write_report(tmp_path)[1].read_text()


def test_another_file_of_the_same_name_is_refused(tmp_path: Path) -> None:
    run = summary()
    save(tmp_path, run)
    report = on_jetson(run)
    rows = tuple(r.model_copy(update={"sha256": "f" * 64}) for r in report.results)
    put(tmp_path, report.model_copy(update={"results": rows}))
    with pytest.raises(InputError, match="has measurements of different files called"):
        write_report(tmp_path)


def test_a_file_that_is_not_the_runs_is_noted(tmp_path: Path) -> None:
    run = summary()
    save(tmp_path, run)
    other = timed("stranger", 3.0, seed=9).model_copy(
        update={"device": "orin", "evidence": "device"}
    )
    put(tmp_path, BenchReport(results=(other,), ratios=()))
    markdown = write_report(tmp_path)[1].read_text()
    assert "stranger is not a file of this run" in markdown


@pytest.mark.parametrize("text", ["", "{", '{"results": 3}', "[]"])
def test_a_broken_result_is_refused(tmp_path: Path, text: str) -> None:
    save(tmp_path, summary())
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices/x.json").write_text(text)
    with pytest.raises(InputError, match=r"x\.json is not the result of a device"):
        write_report(tmp_path)
