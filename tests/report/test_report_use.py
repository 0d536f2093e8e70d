"""The box on the file to use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from picture_runs import full_run, manifest_of
from report_runs import BUSY, FOLDED, INT8, PLAIN

from edgenext.report.load import load_summary
from edgenext.report.study import study_of
from edgenext.report.use import UseBox, code_of, preprocessing_words, use_box
from edgenext.report.verdict import judge
from edgenext.schema import EvalTransform, TensorSpec


def box_of(run_dir: Path, budget: float = 5.0) -> UseBox | None:
    study = study_of(load_summary(run_dir))
    return use_box(study, judge(study, budget), run_dir, run_dir)


def test_it_is_about_the_file_to_ship(tmp_path: Path) -> None:
    run_dir, _ = full_run(tmp_path)
    box = box_of(run_dir)
    assert box and box.title == f"Use {INT8}.onnx" and box.about == ""
    assert [link.address for link in box.links] == [
        f"artifacts/{name}.onnx" for name in (INT8, PLAIN, FOLDED)
    ]
    facts = {fact.name: fact.value for fact in box.facts}
    assert facts["Input"] == "input: 1×3×32×32, float32"
    assert facts["Preprocessing"] == (
        "convert it to RGB; resize its shorter side to 36 pixels (bicubic); crop 32×32 from the "
        "centre; divide by 255; subtract the mean (0.485, 0.456, 0.406) and divide by the "
        "deviation (0.229, 0.224, 0.225) of red, green and blue; channels first (N×3×H×W)"
    )
    assert facts["Labels"].startswith(f"labels in artifacts/{INT8}.onnx.json: class a, class b")


def test_what_is_not_decided_does_not_recommend_int8(tmp_path: Path) -> None:
    run_dir, _ = full_run(tmp_path, reasons={INT8: (BUSY,)})
    box = box_of(run_dir)
    assert box and box.title == f"Use {FOLDED}.onnx", "the fastest floating-point file"
    assert "It is not decided whether INT8 pays" in box.about


def test_no_box_on_files_that_are_not_there_or_are_others(tmp_path: Path) -> None:
    run_dir, _ = full_run(tmp_path)
    manifest = run_dir / "artifacts" / f"{INT8}.onnx.json"
    record = json.loads(manifest.read_text())
    broken = [record["eval"] | {"crop_pct": 0}, record["eval"] | {"size": -1}]
    others = [{"sha256": "0" * 64}, *({"eval": transform} for transform in broken)]
    for text in (*(json.dumps(record | other) for other in others), "{", "[1]"):
        manifest.write_text(text)
        assert box_of(run_dir) is None, text
    manifest.write_text(json.dumps(record))
    assert box_of(run_dir)
    (run_dir / "artifacts" / f"{INT8}.onnx").write_bytes(b"changed")
    assert box_of(run_dir) is None
    manifest.unlink()
    assert box_of(run_dir) is None
    (run_dir / "artifacts" / f"{INT8}.onnx").unlink()
    assert box_of(run_dir) is None


def test_no_file_outside_the_run_is_linked(tmp_path: Path) -> None:
    run_dir, run = full_run(tmp_path)
    (tmp_path / "secret.onnx").write_text("x")
    odd = run.artifacts[2].model_copy(update={"artifact": "../secret.onnx"})
    run = run.model_copy(update={"artifacts": (*run.artifacts[:2], odd)})
    (run_dir / "run.json").write_text(run.model_dump_json())
    box = box_of(run_dir)
    assert box is None or all("secret" not in link.address for link in box.links)


@pytest.mark.parametrize("path", ["a'b.onnx", 'a"b.onnx', "a\\b\n.onnx", "x'); import os #.onnx"])
def test_a_path_stays_a_string(path: str) -> None:
    code = code_of(manifest_of(INT8), path)
    compile(code, "box", "exec")
    import ast

    strings = {node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)}
    assert {path, f"{path}.json"} <= strings
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import)]
    assert {name.name for node in imports for name in node.names} == {
        "json", "numpy", "onnxruntime",
    }  # fmt: skip


def test_preprocessing_of_pixels_and_of_quantized_inputs_in_words() -> None:
    pixels = TensorSpec(name="x", shape=(1, 32, 32, 3), dtype="uint8")
    upright = EvalTransform(size=32, crop_pct=1.0, interpolation="bilinear", exif="apply")
    assert preprocessing_words(upright, pixels) == (
        "turn it as its EXIF orientation says; convert it to RGB; resize its shorter side to 32 "
        "pixels (bilinear); crop 32×32 from the centre; channels last (N×H×W×3)"
    )
    stored = pixels.model_copy(update={"dtype": "int8", "scale": 0.02, "zero_point": -3})
    assert "quantize: divide by 0.02, round, add -3" in preprocessing_words(upright, stored)
