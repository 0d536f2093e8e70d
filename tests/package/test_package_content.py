"""What a package has, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from packages import HOSTILE_FILE, HOSTILE_NAMES, Packaged
from PIL import Image

from edgenext import api
from edgenext.errors import ArtifactError, DataError, EdgenextError, InputError, UsageError
from edgenext.formats.artifact import Artifact, manifest_path, open_artifact
from edgenext.package import literals
from edgenext.package.samples import rendered, sample_rows
from edgenext.schema import ExpectedAnswers, Preprocessing
from edgenext.system.sums import read_sums

Make = Callable[..., Artifact]

pytestmark = pytest.mark.usefixtures("without_web")


def header(folder: Path) -> str:
    card = (folder / "README.md").read_text("utf-8")
    begin, head, _ = card.split("---\n", 2)
    assert begin == ""
    return head


def test_everything_is_there_and_hashed(packaged: Packaged) -> None:
    folder = packaged.folder
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files - {name for name in files if name.startswith("web/ort")} == {
        *(HOSTILE_FILE, f"{HOSTILE_FILE}.json", "README.md", "LICENSE", "SHA256SUMS"),
        *("labels.txt", "preprocessing.json", "expected.json", "example.png", "example.ppm"),
        *("sample.py", "sample.mjs", "preprocess.mjs", "sample.cpp", "web/index.html"),
    }
    assert set(read_sums(folder)) == files - {"SHA256SUMS"}
    report = api.verify(folder)
    assert (report.kind, report.sound, report.uncovered) == ("package", True, ())
    command = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    checked = subprocess.run(command, cwd=folder, capture_output=True)
    assert checked.returncode == 0, checked.stderr


def test_answers_and_labels_are_those_of_the_file(packaged: Packaged) -> None:
    folder = packaged.folder
    expected = ExpectedAnswers.model_validate_json((folder / "expected.json").read_text())
    scores = expected.files[HOSTILE_FILE]
    order = np.argsort(-packaged.logits[0], kind="stable")[:5]
    assert [score.index for score in scores] == order.tolist()
    assert [score.name for score in scores] == [HOSTILE_NAMES[i] for i in order]
    assert (folder / "labels.txt").read_text("utf-8").split("\n") == [*HOSTILE_NAMES, ""]
    about = Preprocessing.model_validate_json((folder / "preprocessing.json").read_text())
    assert about.eval == packaged.artifact.manifest.eval and about.short == 73
    assert about.pretrained_cfg["input_size"] == [3, 64, 64]
    assert "resize its shorter side to 73 pixels (bicubic)" in about.words[HOSTILE_FILE]
    by_package = api.predict(folder, [folder / "example.png"])
    assert by_package.images[0].classes == scores


def test_timm_takes_the_preprocessing(packaged: Packaged) -> None:
    data = pytest.importorskip("timm.data")
    cfg = json.loads((packaged.folder / "preprocessing.json").read_text())["pretrained_cfg"]
    resolved = data.resolve_data_config({}, pretrained_cfg=cfg)
    transform = packaged.artifact.manifest.eval
    assert resolved["input_size"] == [3, 64, 64] and resolved["crop_pct"] == transform.crop_pct
    assert resolved["interpolation"] == transform.interpolation
    assert (resolved["mean"], resolved["std"]) == (list(transform.mean), list(transform.std))


def test_hostile_names_are_escaped(packaged: Packaged) -> None:
    folder = packaged.folder
    for name in ("web/index.html", "sample.mjs", "sample.cpp"):
        text = (folder / name).read_text("utf-8")
        assert HOSTILE_FILE not in text and "@@" not in text and "owned" not in text
    card = (folder / "README.md").read_text("utf-8")
    assert "<script>" not in card.replace("`", "") and "*bold*" not in card.replace("\\*", "")
    name = 'a"b\\c\nd</script>${e}\\(f)ü大😀'
    assert json.loads(literals.javascript(name)) == name
    assert "$" not in literals.kotlin(name) and "<" not in literals.javascript(name)
    assert "\\(" not in literals.swift(name) and literals.cpp("ü\n?") == '"\\303\\274\\012\\077"'


def test_hugging_face_reads_the_card(tmp_path: Path, make_artifact: Make) -> None:
    hub = pytest.importorskip("huggingface_hub")
    artifact = make_artifact('a "b" # --- [c]')
    image = tmp_path / "image.png"
    Image.new("RGB", (50, 40), "red").save(image)
    report = api.evaluate([artifact.path], "digits")
    (tmp_path / "eval.json").write_text(report.model_dump_json())
    api.package([artifact.path], out=tmp_path / "out", image=image, results=tmp_path / "eval.json")
    card = hub.ModelCard.load(tmp_path / "out" / "README.md").data
    assert (card.pipeline_tag, card.library_name) == ("image-classification", "onnxruntime")
    assert card.datasets == ["digits"] and card.license == "other"
    top1, top5 = card.eval_results
    (row,) = report.results
    assert (top1.metric_type, top1.dataset_name) == ("accuracy", "digits")
    assert top1.metric_value == pytest.approx(row.top1, abs=1e-3)
    low, high = top1.metric_args["ci95"]
    assert low < row.top1 < high and top1.metric_args["n"] == row.n
    assert top5.metric_value == pytest.approx(row.top5, abs=1e-3)
    assert card.model_name == artifact.name
    assert card.to_dict()["pretrained_cfg"]["input_size"] == [3, 32, 32]


def test_a_zip_is_the_same_package(packaged: Packaged, images: list[Path], tmp_path: Path) -> None:
    path = packaged.artifact.path
    for name in ("one.zip", "two.zip"):
        result = api.package([path], out=tmp_path / name, image=images[0])
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    files = {name for name in read_sums(packaged.folder) if not name.startswith("web/ort")}
    assert set(result.files) == files | {"SHA256SUMS"}
    assert result.notes == ("onnxruntime-web is not in web/: edgenext env web installs it",)
    report = api.verify(tmp_path / "one.zip")
    assert (report.kind, report.sound, report.subject) == ("package", True, "one.zip")
    answer = api.predict(tmp_path / "one.zip", [images[1]]).images[0].classes[0]
    assert answer.index == packaged.logits[1].argmax()


@pytest.fixture
def red(tmp_path: Path) -> Path:
    Image.new("RGB", (50, 40), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


def test_a_changed_file_is_found(make_artifact: Make, red: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    api.package([make_artifact().path], out=out, image=red)
    (out / "labels.txt").write_text("other\n")
    (problem,) = api.verify(out).problems
    assert (problem.file, problem.by, problem.problem) == (
        "labels.txt",
        "SHA256SUMS",
        "was changed",
    )
    shutil.make_archive(str(out), "zip", out)
    assert [p.file for p in api.verify(tmp_path / "out.zip").problems] == ["labels.txt"]
    (out / "tiny.onnx").write_bytes(b"")
    with pytest.raises(ArtifactError, match="is not the file of its manifest"):
        api.predict(out, [red])


def test_a_package_replaces_a_package_and_nothing_else(
    make_artifact: Make, red: Path, tmp_path: Path
) -> None:
    path, out = make_artifact().path, tmp_path / "out"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for taken in (tmp_path / "full", red):
        with pytest.raises(UsageError, match="is not a package"):
            api.package([path], out=taken, image=red)
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"
    api.package([path], out=out, image=red)
    (out / "left.txt").write_text("")
    api.package([path], out=out, image=red)
    assert not (out / "left.txt").exists()
    with pytest.raises(EdgenextError):
        api.package([path], out=out, image=tmp_path / "none.png")
    assert api.verify(out).sound and not list(tmp_path.glob(".*"))


def test_a_file_without_a_manifest_gets_one(packaged: Packaged, red: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.onnx"
    shutil.copy(packaged.artifact.path, alone)
    api.package([alone], out=tmp_path / "out", image=red)
    assert manifest_path(tmp_path / "out" / "alone.onnx").is_file()
    inside = open_artifact(tmp_path / "out" / "alone.onnx").manifest
    assert inside.class_names == HOSTILE_NAMES and api.verify(tmp_path / "out").sound


def test_what_cannot_be_packaged(make_artifact: Make, red: Path, tmp_path: Path) -> None:
    path, out = make_artifact().path, tmp_path / "out"
    other, fixed = make_artifact("other", classes=7).path, make_artifact("two", batch=2).path
    cases: list[tuple[type[EdgenextError], str, list[Path], dict[str, Path]]] = [
        (UsageError, "no file", [], {"image": red}),
        (UsageError, "no example image", [path], {}),
        (UsageError, "differ in num_classes", [path, other], {"image": red}),
        (UsageError, "takes 2 images a call", [fixed], {"image": red}),
        (UsageError, "has already", [path, path], {"image": red}),
        (DataError, "cannot be used", [path], {"image": path}),
        (ArtifactError, "no artifact at", [tmp_path / "none.onnx"], {"image": red}),
        (InputError, "is not JSON", [path], {"image": red, "results": red}),
        (DataError, "no image that can be read", [path], {"data": tmp_path / "empty"}),
    ]
    (tmp_path / "empty").mkdir()
    for error, message, files, options in cases:
        with pytest.raises(error, match=message):
            api.package(files, out=out, **options)  # type: ignore[arg-type]
        assert not out.exists()
    for name in ("a\\b.onnx", "C:x.onnx", "line\nbreak.onnx"):
        shutil.copy(path, tmp_path / name)
        shutil.copy(manifest_path(path), tmp_path / f"{name}.json")
        with pytest.raises(UsageError, match="on every system"):
            api.package([tmp_path / name], out=out, image=red)
    for text, message in (("{}", "has no accuracies"), ('{"results": []}', "of these files")):
        (tmp_path / "results.json").write_text(text)
        with pytest.raises(EdgenextError, match=message):
            api.package([path], out=out, image=red, results=tmp_path / "results.json")


def test_an_example_of_a_data_set(make_artifact: Make, tmp_path: Path) -> None:
    api.package([make_artifact().path], out=tmp_path / "out", data="digits")
    with Image.open(tmp_path / "out" / "example.png") as example:
        assert example.size == (32, 32) and example.mode == "RGB"


def test_every_sample_has_a_template() -> None:
    templates = {
        p.name for p in resources.files("edgenext.package").joinpath("templates").iterdir()
    }
    rows = sample_rows().values()
    assert {name for row in rows for name in (row.template, *row.beside)} | {"LICENSE"} == templates
    root = Path(__file__).parents[2]
    own = resources.files("edgenext.package").joinpath("templates", "LICENSE").read_text()
    assert own == (root / "LICENSE").read_text()


@pytest.mark.parametrize("client", ["kotlin", "swift"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_kotlin_and_swift_have_the_values_of_the_file(
    make_artifact: Make, client: str, dtype: str
) -> None:
    artifact = make_artifact('a "b" $x')
    spec = artifact.manifest.input.model_copy(update={"dtype": dtype})
    manifest = artifact.manifest.model_copy(update={"input": spec})
    row = sample_rows()[client]
    text = rendered(row, replace(artifact, manifest=manifest))
    assert "@@" not in text and "0.485, 0.456, 0.406" in text
    assert all(text.count(a) == text.count(b) for a, b in ("{}", "()", "[]"))
    name = {"kotlin": "a \\u0022b\\u0022 \\u0024x.onnx", "swift": "a \\u{22}b\\u{22} \\u{24}x.onnx"}
    assert f'"{name[client]}"' in text
    assert {"kotlin": "SHORT = 36", "swift": "short = 36"}[client] in text
