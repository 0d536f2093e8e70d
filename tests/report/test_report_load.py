from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from report_runs import INT8, PLAIN, logits, measured, save, summary

from edgenext.errors import InputError
from edgenext.report import write_report
from edgenext.report.load import load_logits, load_summary


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert error.value.remedy
    return text


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        write_report(tmp_path)
    assert "contains no run.json" in one_line(error)
    with pytest.raises(InputError):
        write_report(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"model": 1}', "\x00\x01", '{"schema_version": 1}']
)
def test_a_garbled_summary(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        write_report(tmp_path)
    assert "is not the summary of a run" in one_line(error)
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_the_field_that_is_wrong_is_named(tmp_path: Path) -> None:
    document = json.loads(summary().model_dump_json())
    document["bench"]["results"][1]["latency_ms"]["p50"] = "fast"
    (tmp_path / "run.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError, match=r"bench\.results\.1\.latency_ms\.p50"):
        load_summary(tmp_path)


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    document = json.loads(summary().model_dump_json())
    document["bench"]["results"][1]["latency_ms"]["p50"] = float("nan")
    (tmp_path / "run.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_summary(tmp_path)
    assert "it has nan instead of a finite number" in one_line(error)


def test_a_summary_of_a_later_version(tmp_path: Path) -> None:
    save(tmp_path, summary().model_copy(update={"schema_version": 2}))
    with pytest.raises(InputError, match="schema version 2"):
        load_summary(tmp_path)


def test_logits_are_optional(tmp_path: Path) -> None:
    save(tmp_path, summary())
    assert load_logits(tmp_path) is None


def test_logits_that_are_broken(tmp_path: Path) -> None:
    save(tmp_path, summary())
    (tmp_path / "logits.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError) as error:
        write_report(tmp_path)
    assert "does not hold logits" in one_line(error)
    assert not (tmp_path / "report.html").exists()


def test_pickled_logits_are_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "logits.npz", labels=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="does not hold logits"):
        load_logits(tmp_path)


def test_one_array_is_no_archive(tmp_path: Path) -> None:
    with (tmp_path / "logits.npz").open("wb") as f:
        np.save(f, np.zeros((2, 2)))
    with pytest.raises(InputError, match="is not an archive of arrays"):
        load_logits(tmp_path)


@pytest.mark.parametrize("drop", ["labels", INT8])
def test_logits_that_do_not_belong_together(tmp_path: Path, drop: str) -> None:
    arrays = logits(50)
    arrays[drop] = arrays[drop][:-1, None] if drop == "labels" else arrays[drop][:-1]
    np.savez(tmp_path / "logits.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError) as error:
        load_logits(tmp_path)
    assert "Delete it" in one_line(error)


def test_logits_of_another_run(tmp_path: Path) -> None:
    run, arrays = measured()
    arrays[INT8], arrays[PLAIN] = arrays[PLAIN], arrays[INT8]
    save(tmp_path, run, arrays)
    with pytest.raises(InputError) as error:
        write_report(tmp_path)
    assert "does not belong to this run" in one_line(error)
