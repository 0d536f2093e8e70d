"""Changed answers by class and image, and the pictures of them."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from picture_runs import CLASSES, full_run
from PIL import Image
from report_runs import measured, predictions_of, save

from edgenext.data import digits
from edgenext.data.sources import content_hash
from edgenext.errors import DataError, InputError
from edgenext.report.answers import ChangedAnswers
from edgenext.report.classes import (
    ClassCounts,
    beyond_chance,
    class_counts,
    class_table,
    classes_csv,
)
from edgenext.report.details import Details, details_of
from edgenext.report.load import load_summary
from edgenext.report.pictures import SHOWN, SIDE, changed_images, image_data
from edgenext.report.predictions import load_predictions
from edgenext.report.study import study_of
from edgenext.report.verdict import judge
from edgenext.schema import EvalTransform


def answers(labels: list[int], before: list[int], after: list[int]) -> ChangedAnswers:
    margin = np.arange(len(labels), dtype=np.float64)
    arrays = (np.array(values, np.int64) for values in (labels, before, after))
    return ChangedAnswers(*arrays, margin)  # type: ignore[arg-type]


def details(run_dir: Path, data: Path | None = None) -> Details:
    study = study_of(load_summary(run_dir))
    return details_of(study, judge(study), load_predictions(run_dir), run_dir, run_dir, data)


def pixels(source: str) -> np.ndarray:
    kind, _, data = source.partition(",")
    assert kind == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_lost_come_first_and_the_surest_of_them() -> None:
    some = answers([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 0], [1, 1, 0, 1, 1, 1])
    assert some.ordered().tolist() == [1, 0, 4, 2, 5]
    assert [some.outcome(i) for i in (1, 2, 5)] == ["lost", "gained", "still wrong"]


def test_classes_are_counted_on_both_sides() -> None:
    some = answers([0, 0, 0, 1, 1, 3], [0, 0, 1, 1, 0, 0], [1, 0, 0, 1, 1, 1])
    counts = class_counts(some, lambda i: f"c{i}")
    assert [(c.name, c.n, c.lost, c.gained) for c in counts] == [
        ("c0", 3, 1, 1), ("c1", 2, 0, 1), ("c3", 1, 0, 0),
    ]  # fmt: skip
    assert classes_csv(counts).splitlines()[:2] == ["index,class,n,lost,gained", "0,c0,3,1,1"]


def test_nothing_is_said_of_five_images() -> None:
    counts = [ClassCounts(0, "few", 5, 5, 0), ClassCounts(1, "many", 200, 3, 2)]
    assert beyond_chance(counts) == []
    table = class_table(counts)
    assert table
    assert table.rows[0] == ("few", "5", "5", "0", "–")
    assert table.rows[1][:4] == ("many", "200", "3", "2") and "0.5 (" in table.rows[1][4]
    text = " ".join(table.findings)
    assert "No class changes by more than chance explains" in text
    assert "1 class has fewer than 20 images: too few to say anything." in text


def test_a_class_that_loses_clearly_is_named_and_luck_among_many_is_not() -> None:
    counts = [ClassCounts(i, f"c{i}", 50, 6, 0) for i in range(1)]
    assert [c.name for c in beyond_chance(counts)] == ["c0"]
    # 6 of 6 have p = 0.03: among 100 classes that happens by chance
    crowd = [*counts, *(ClassCounts(i, f"c{i}", 50, 1, 1) for i in range(1, 100))]
    assert beyond_chance(crowd) == []
    crowd[7] = ClassCounts(7, "shoe", 50, 30, 1)
    table = class_table(crowd)
    assert (
        table
        and "One class loses more than chance explains: shoe (30 lost, 1 gained)"
        in (table.findings[0])
    )
    assert len(table.rows) == 20 and "`classes.csv`" in table.about


def test_no_section_on_classes_where_nothing_was_lost_or_gained() -> None:
    assert class_table([ClassCounts(0, "a", 100, 0, 0)]) is None


def test_pictures_are_the_images_as_the_network_sees_them(tmp_path: Path) -> None:
    run_dir, _ = full_run(tmp_path)
    changed = details(run_dir).images
    assert changed and changed.note == ""
    assert 12 < len(changed.pictures) <= SHOWN
    for picture in changed.pictures[:3]:
        assert picture.label in CLASSES and picture.before in CLASSES and picture.after in CLASSES
        assert picture.before != picture.after
        with Image.open(tmp_path / "photos" / picture.name) as image:
            short = int(SIDE / 0.875)
            full = image.resize((short * 60 // 40, short), Image.Resampling.BICUBIC)
        left, top = round((full.width - SIDE) / 2), round((full.height - SIDE) / 2)
        expected = np.asarray(full.crop((left, top, left + SIDE, top + SIDE)), np.int16)
        assert np.abs(pixels(picture.source) - expected).mean() < 20  # of JPEG, on noise


def test_every_changed_answer_is_in_the_table(tmp_path: Path) -> None:
    run_dir, run = full_run(tmp_path)
    found = details(run_dir)
    rows = list(csv.DictReader(io.StringIO(found.tables["changed.csv"])))
    drop = run.compare.others[1].drop
    assert [r["outcome"] for r in rows].count("lost") == drop.lost
    assert [r["outcome"] for r in rows].count("gained") == drop.gained
    assert all(r["base_answer"] == r["label"] != r["answer"] for r in rows[: drop.lost])
    names = json.loads((run_dir / "images.json").read_text())["names"]
    assert {r["image"] for r in rows} <= set(names)
    margins = [float(r["base_margin"]) for r in rows[: drop.lost]]
    assert margins == sorted(margins, reverse=True)


def test_more_images_than_fit_are_bounded_and_shared_out() -> None:
    labels, n = [0] * 900, 300
    many = answers(labels, [0] * n + [1] * 2 * n, [1] * n + [0] * n + [2] * n)
    found = changed_images(many, None, image_data("nowhere", Path("nowhere")))
    assert len(found.pictures) == SHOWN
    kinds = [picture.outcome for picture in found.pictures]
    assert [kinds.count(o) for o in ("lost", "gained", "still wrong")] == [24, 12, 12]
    assert "`changed.csv` has all 900" in found.about
    assert "an earlier version made this run" in found.note


def test_an_image_with_other_content_is_not_shown(tmp_path: Path) -> None:
    run_dir, _ = full_run(tmp_path)
    first = details(run_dir).images
    assert first
    path = tmp_path / "photos" / first.pictures[0].name
    Image.new("RGB", (40, 40)).save(path)
    again = details(run_dir).images
    assert again and again.pictures[0].source == "" and again.pictures[1].source
    assert again.note == "1 picture cannot be read, or changed since the run."


def test_images_that_are_elsewhere_are_found_where_one_says(tmp_path: Path) -> None:
    run_dir, _ = full_run(tmp_path)
    (tmp_path / "photos").rename(tmp_path / "moved")
    without = details(run_dir).images
    assert without and not any(picture.source for picture in without.pictures)
    assert "Without pictures: photos is not here" in without.note and "--data" in without.note
    assert without.pictures[0].label in CLASSES
    given = details(run_dir, tmp_path / "moved").images
    assert given and all(picture.source for picture in given.pictures)
    with pytest.raises(DataError, match="no such file or folder"):
        details(run_dir, tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "val/../../secret.png", "x\0y"])
def test_no_image_outside_the_data_set_is_read(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "photos").mkdir()
    data = image_data("photos", tmp_path / "run", tmp_path / "photos")
    digest = content_hash((tmp_path / "secret.png").read_bytes())
    assert data.picture(name, digest, EvalTransform()) == ""


@pytest.mark.parametrize("name", ["..", "../photos", "", "a/b"])
def test_no_data_set_but_one_beside_the_run_is_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "photos").mkdir()
    assert image_data(name, tmp_path / "photos" / "run").source is None


def test_digits_are_drawn() -> None:
    data = image_data("digits", Path())
    name = digits.DigitSource("val").files("")[0]
    digest = content_hash(digits.DigitSource("val").read(name))
    assert pixels(data.picture(name, digest, EvalTransform(size=32))).shape == (SIDE, SIDE, 3)
    for other in ("0/99999", "0/-1", "x/y"):
        assert data.picture(other, digest, EvalTransform(size=32)) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["one"]}, "does not name each of the 3000 images"),
        ({"classes": ["one"]}, "does not name every class"),
        ({"hashes": None}, "is not a list of images"),
    ],
)
def test_a_list_of_other_images_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    run_dir, _ = full_run(tmp_path)
    path = run_dir / "images.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message) as error:
        details(run_dir)
    assert error.value.remedy


def test_a_run_of_an_earlier_version_has_no_names(tmp_path: Path) -> None:
    run, arrays = measured()
    found = details(save(tmp_path, run, arrays))
    assert found.images and found.images.pictures[0].label.startswith("class ")
    assert predictions_of(arrays).labels.shape == (3000,)
    assert details(save(tmp_path / "bare", run)).images is None
