"""What a run's report offers to use: the file, its code, its pictures, its tables."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_calls import FP32, INT8, MODEL, Cli
from PIL import Image

from edgenext.report.use import code_of
from edgenext.schema import EvaluatedImages, Manifest
from edgenext.system.sums import read_sums

Artifacts = Callable[..., list[Path]]


def photo(folder: Path, name: str = "PHOTO.jpg") -> Path:
    """An image that is wider than high, with an EXIF orientation."""
    pixels = np.random.default_rng(1).integers(0, 256, (9, 14, 3), np.uint8)
    image = Image.fromarray(pixels).resize((83, 51), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / name, quality=95, exif=exif)
    return folder / name


def printed(code: str, folder: Path) -> list[tuple[str, float]]:
    """What the code prints in a folder: names and percentages."""
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    lines = [re.fullmatch(r"([\d.]+)% (.+)", line) for line in out.splitlines()]
    return [(line[2], float(line[1])) for line in lines if line]


def predicted(cli: Cli, file: Path, image: Path, *options: str) -> list[tuple[str, float]]:
    """What `edgenext predict` says of the same image."""
    (row,) = cli.ok("predict", file, image, *options, "--json").json["images"]
    return [(c["name"] or str(c["index"]), 100 * c["probability"]) for c in row["classes"]]


def agree(one: list[tuple[str, float]], other: list[tuple[str, float]]) -> None:
    assert len(one) == len(other) == 5
    assert [name for name, _ in one] == [name for name, _ in other]
    assert [p for _, p in one] == pytest.approx([p for _, p in other], abs=0.011)


def agree_on_a_photo(cli: Cli, path: Path, manifest: Manifest) -> str:
    """The code of a file, which gives what `edgenext predict` gives of an image."""
    image, code = photo(Path()), code_of(manifest, str(path))
    agree(printed(code, Path()), predicted(cli, path, image))
    return code


def manifest_of(path: Path) -> Manifest:
    return Manifest.model_validate_json(Path(f"{path}.json").read_bytes())


def test_the_code_of_the_box_runs_as_it_stands(cli: Cli, ran: Path) -> None:
    image = photo(ran)
    page = (ran / "report.html").read_text("utf-8")
    (code,) = re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)
    code = html.unescape(code)
    assert len(code.splitlines()) <= 20
    (file,) = re.findall(r'InferenceSession\("(.*?)"\)', code)
    agree(printed(code, ran), predicted(cli, ran / file, image))
    for link in re.findall(r'<a href="(artifacts/.*?)">', page):
        assert (ran / link).is_file()


def test_the_report_beside_another_folder_has_paths_from_there(cli: Cli, ran: Path) -> None:
    cli.ok("report", ran, "-o", "else where")
    image = photo(Path("else where"))
    page = Path("else where/report.html").read_text("utf-8")
    (code,) = re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)
    (file,) = re.findall(r'InferenceSession\("(.*?)"\)', html.unescape(code))
    assert file.startswith("../demo/artifacts/")
    agree(
        printed(html.unescape(code), Path("else where")),
        predicted(cli, Path("else where", file), image),
    )


@pytest.mark.parametrize("name", [FP32, INT8])
def test_the_code_of_a_file_gives_what_predict_gives(
    cli: Cli, artifacts: Artifacts, name: str
) -> None:
    (path,) = artifacts(name)
    agree_on_a_photo(cli, path, manifest_of(path))


def test_labels_names_pixels_and_exif_are_in_the_code(cli: Cli, weights: Path) -> None:
    Path("labels.txt").write_text("".join(f"n0000000{i} thing {i}\n" for i in range(10)))
    options = ("--weights", weights, "--size", "32", "--labels", "labels.txt")
    cli.ok("export", MODEL[0], *options, "--exif", "apply", "--uint8-input", "-o", 'it\'s "here"')
    (path,) = Path('it\'s "here"').glob("*.onnx")
    manifest = manifest_of(path)
    assert manifest.input.dtype == "uint8" and manifest.eval.exif == "apply"
    code = agree_on_a_photo(cli, path, manifest)
    assert "exif_transpose" in code and '["class_names"]' in code
    assert printed(code, Path())[0][0].startswith("thing ")


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("openvino", marks=pytest.mark.slow),
        pytest.param("tflite", marks=pytest.mark.campaign),
    ],
)
def test_the_code_of_other_formats_runs_too(cli: Cli, form: str) -> None:
    cli.ok("export", *MODEL, "--format", form)
    (path,) = (p for p in Path().iterdir() if p.suffix in (".xml", ".tflite"))
    agree_on_a_photo(cli, path, manifest_of(path))


def test_a_format_without_code_of_its_own_is_read_by_this_package(
    cli: Cli, artifacts: Artifacts
) -> None:
    (path,) = artifacts(FP32)
    manifest = manifest_of(path).model_copy(update={"format": "executorch"})
    assert "from edgenext import api" in agree_on_a_photo(cli, path, manifest)


def test_a_run_keeps_which_images_it_evaluated(cli: Cli, ran: Path) -> None:
    images = EvaluatedImages.model_validate_json((ran / "images.json").read_bytes())
    assert len(images.names) == len(images.hashes) == 120
    assert images.classes == tuple("0123456789") and images.transform.size == 32
    sums = read_sums(ran)
    assert {"images.json", "changed.csv", "classes.csv"} <= sums.keys()
    rows = (ran / "classes.csv").read_text("utf-8").splitlines()
    assert sum(int(row.split(",")[2]) for row in rows[1:]) == 120
    changed = len((ran / "changed.csv").read_text("utf-8").splitlines()) - 1
    page = (ran / "report.html").read_text("utf-8")
    assert f"Of 120 images, {changed} got another answer" in page
    assert page.count('src="data:image/jpeg;base64,') == min(changed, 48)


def test_ranges_that_clip_are_in_the_manifest_and_the_report(cli: Cli, ran: Path) -> None:
    manifest = json.loads((ran / "artifacts" / f"{INT8}.json").read_text())
    clipping = manifest["clipping"]
    assert clipping and clipping == json.loads((ran / "run.json").read_text())["clipping"]
    for row in clipping.values():
        assert row["site"] and 0 <= row["share"] < 0.05
        assert row["low"] <= 0 <= row["high"]
        assert row["share"] or row["least"] < row["low"] or row["most"] > row["high"]
    worst = max(clipping.values(), key=lambda row: (row["share"], row["most"]))
    text = (ran / "report.md").read_text("utf-8")
    assert "## What the INT8 ranges cut off" in text and worst["site"] in text
    floats = json.loads((ran / "artifacts" / f"{FP32}.json").read_text())
    assert floats["clipping"] == {}


def test_images_that_are_given_must_be_there(cli: Cli, ran: Path) -> None:
    assert "no such file or folder" in cli.fails(3, "report", ran, "--data", "nowhere")
