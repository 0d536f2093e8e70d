from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from report_runs import INT8, PLAIN, logits, measured, predictions_of, save, summary

from edgenext.errors import InputError
from edgenext.report import write_report
from edgenext.report.load import load_summary
from edgenext.report.predictions import load_predictions, save_predictions


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


def test_predictions_are_optional(tmp_path: Path) -> None:
    save(tmp_path, summary())
    assert load_predictions(tmp_path) is None


def test_predictions_are_read_back_as_they_were(tmp_path: Path) -> None:
    arrays = logits(200)
    # Names of any kind: `file` is an argument of `np.savez`.
    arrays["labels.onnx"], arrays["file"] = arrays[INT8], arrays[PLAIN]
    before = predictions_of(arrays)
    save_predictions(tmp_path, before)
    after = load_predictions(tmp_path)
    assert after is not None and after.by_name.keys() == before.by_name.keys()
    np.testing.assert_array_equal(after.labels, before.labels)
    for name, best in before.by_name.items():
        values, read = arrays[name].astype(np.float32), after.by_name[name]
        order = np.sort(values, axis=1)
        np.testing.assert_array_equal(read.first, values.argmax(1))
        np.testing.assert_array_equal(read.margin, order[:, -1] - order[:, -2])
        rows = np.arange(len(values))
        np.testing.assert_array_equal(values[rows, read.second], order[:, -2])
        np.testing.assert_array_equal(read.second, best.second)


def saved_arrays(folder: Path, **arrays: object) -> None:
    np.savez(folder / "predictions.npz", **arrays)  # type: ignore[arg-type]


def damaged_zip(folder: Path) -> None:
    (folder / "predictions.npz").write_bytes(b"PK\x03\x04 and no more")


def pickled(folder: Path) -> None:
    saved_arrays(folder, labels=np.array([{"a": 1}], dtype=object))


def one_array(folder: Path) -> None:
    with (folder / "predictions.npz").open("wb") as f:
        np.save(f, np.zeros((2, 2)))


def huge_member(folder: Path) -> None:
    with (
        zipfile.ZipFile(folder / "predictions.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("labels.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(257):
            member.write(bytes(1 << 20))


def huge_header(folder: Path) -> None:
    header = (
        "{'descr': '<i4', 'fortran_order': False, 'shape': (1000000000000000,)}".ljust(117) + "\n"
    )
    head = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    with zipfile.ZipFile(folder / "predictions.npz", "w") as archive:
        archive.writestr("labels.npy", head + bytes(40))


def other_sizes(folder: Path) -> None:
    save_predictions(folder, predictions_of(logits(50)))
    arrays = dict(np.load(folder / "predictions.npz"))
    saved_arrays(folder, **arrays | {"labels": arrays["labels"][:-1]})


def no_margins(folder: Path) -> None:
    save_predictions(folder, predictions_of(logits(50)))
    arrays = dict(np.load(folder / "predictions.npz"))
    saved_arrays(
        folder, **arrays | {f"margin/{INT8}": arrays[f"margin/{PLAIN}"] * np.float32("nan")}
    )


def an_array_of_logits(folder: Path) -> None:
    saved_arrays(folder, **logits(50))


@pytest.mark.parametrize(
    "write",
    [
        damaged_zip, pickled, one_array, huge_member, huge_header, other_sizes, no_margins,
        an_array_of_logits,
    ],
)  # fmt: skip
def test_predictions_that_cannot_be_used(tmp_path: Path, write: Callable[[Path], None]) -> None:
    save(tmp_path, summary())
    write(tmp_path)
    with pytest.raises(InputError, match=r"predictions\.npz") as error:
        write_report(tmp_path)
    assert "Delete it" in one_line(error)
    assert not (tmp_path / "report.html").exists()


def test_predictions_of_another_run(tmp_path: Path) -> None:
    run, arrays = measured()
    arrays[INT8], arrays[PLAIN] = arrays[PLAIN], arrays[INT8]
    save(tmp_path, run, arrays)
    with pytest.raises(InputError) as error:
        write_report(tmp_path)
    assert "does not belong to this run" in one_line(error)
