"""What folding gives and what the quantizer gives, from the files of several quantizers."""

from __future__ import annotations

from report_runs import FOLDED, INT8, PLAIN, benchmark, compared, exported, summary, timed

from edgenext.report.attribution import TITLE, attribution_table
from edgenext.report.markdown import markdown
from edgenext.report.page import page
from edgenext.report.study import study_of
from edgenext.report.verdict import judge
from edgenext.schema import RunSummary

# (ms, dB) of each quantizer's file; the package's own has 8.26 ms and 25.1 dB
FILES = {
    "onnxruntime": (13.5, 22.0),
    "onnxruntime-tuned": (13.0, 23.6),
    "onnxruntime-folded": (8.3, 24.8),
}


def with_baselines(*names: str) -> RunSummary:
    run = summary(noise=0.002)
    artifacts, others, results = [*run.artifacts], [*run.compare.others], [*run.bench.results]
    for name in names:
        ms, db = FILES.get(name, (8.1, 25.8))
        form = "naive" if name in ("onnxruntime", "onnxruntime-tuned") else "convT"
        about = {"engine": name, "form": form}
        artifacts.append(exported(f"net-{name}").model_copy(update=about))
        pair = compared(f"net-{name}", 50, 40, 5000)
        others.append(pair.model_copy(update={"sqnr_db": db}))
        timing = timed(f"net-{name}", ms, noise=0.002).model_copy(update={"form": form})
        if name == "nncf":
            timing = timing.model_copy(update={"runtime": "openvino"})
        results.append(timing)
    return run.model_copy(
        update={
            "artifacts": tuple(artifacts),
            "compare": run.compare.model_copy(update={"others": tuple(others)}),
            "bench": benchmark(results),
        }
    )


def test_each_step_is_attributed() -> None:
    study = study_of(with_baselines(*FILES, "nncf"))
    table = attribution_table(study)
    assert table is not None and table.title == TITLE
    assert [row[:2] for row in table.rows] == [
        ("none (FP32)", "plain"),
        ("none (FP32)", "folded"),
        ("onnxruntime (defaults)", "plain"),
        ("onnxruntime (tuned)", "plain"),
        ("onnxruntime (tuned, folded graph)", "folded"),
        ("NNCF (folded graph)", "folded"),
        ("edgenext", "folded"),
    ]
    assert [row[4] for row in table.rows[2:]] == ["22.0", "23.6", "24.8", "25.8", "25.1"]
    alone, configuration, folding, quantizer, nncf = table.findings
    assert alone.startswith("Folding alone, in FP32: the file runs 1.1")
    assert configuration.startswith(
        "Configuration: from onnxruntime (defaults) to onnxruntime (tuned), "
    )
    assert "+1.6 dB" in configuration
    assert folding.startswith("Folding: ") and "+1.2 dB" in folding and "runs 1.5" in folding
    assert quantizer.startswith("Quantizer: from onnxruntime (tuned, folded graph) to edgenext")
    assert "+0.3 dB" in quantizer and "which is no measurable difference" in quantizer
    assert "−0.7 dB" in nncf and "in onnxruntime instead of openvino" in nncf
    html, text = page(study, judge(study), []), markdown(study, judge(study))
    for document in (html, text):
        assert TITLE in document and "Folding alone" in document


def test_what_is_missing_is_said() -> None:
    table = attribution_table(study_of(with_baselines("onnxruntime")))
    assert table is not None
    assert 'add `"onnxruntime-folded"` to `baselines`' in table.findings[-1]
    assert not any(f.startswith("Quantizer") for f in table.findings)
    two = attribution_table(study_of(with_baselines("onnxruntime", "onnxruntime-folded")))
    assert two is not None
    assert two.findings[1].startswith("Configuration and folding: from onnxruntime (defaults)")
    assert not any("is not known: add" in finding for finding in two.findings)


def test_a_timing_that_is_not_valid_gives_no_speed() -> None:
    run = with_baselines("onnxruntime-folded")
    results = [
        r.model_copy(update={"valid": False}) if r.artifact == FOLDED else r
        for r in run.bench.results
    ]
    table = attribution_table(study_of(run.model_copy(update={"bench": benchmark(results)})))
    assert table is not None
    assert table.findings[0].endswith("there is no valid timing of both files.")
    assert table.rows[1][5] == "not valid"


def test_a_run_without_baselines_has_no_such_section() -> None:
    run = summary()
    assert attribution_table(study_of(run)) is None
    assert {a.artifact.rpartition("/")[2] for a in run.artifacts} == {
        f"{name}.onnx" for name in (PLAIN, FOLDED, INT8)
    }
