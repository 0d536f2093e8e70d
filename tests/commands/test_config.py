from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_artifacts import tiny_artifact

from edgenext.commands.config import StressStage, make_config, read_config
from edgenext.commands.demo import write_demo_toml
from edgenext.commands.stages import Stages
from edgenext.errors import UsageError
from edgenext.quantize.baseline_rows import DEFAULT_BASELINES
from edgenext.schema.key import Inputs


class StageInputs(Inputs):
    """What a test's stage is made from."""

    a: int


def inputs(a: int) -> StageInputs:
    return StageInputs(versions={}, a=a)


def write(path: Path) -> list[Path]:
    path.write_text("made")
    return [path]


def test_a_stage_is_done_once_and_a_forgotten_one_again(tmp_path: Path) -> None:
    said: list[tuple[str, bool]] = []
    file = tmp_path / "file"
    for a in (1, 1, 2):
        Stages(tmp_path, lambda *s: said.append(s)).stage("make", inputs(a), lambda: write(file))
    assert [needed for _, needed in said] == [True, False, True]
    run = Stages(tmp_path, lambda *s: said.append(s))
    run.stage("make", inputs(2), lambda: write(file))
    assert run.seconds.keys() == {"make"}
    run.forget("make")
    Stages(tmp_path, lambda *s: said.append(s)).stage("make", inputs(2), lambda: write(file))
    assert [needed for _, needed in said[3:]] == [False, True]


def test_an_ir_whose_second_file_has_changed_is_made_again(tmp_path: Path) -> None:
    said: list[tuple[str, bool]] = []
    artifact = tiny_artifact(tmp_path)
    ir = replace(artifact, path=tmp_path / "it.xml")

    def produce() -> list[Path]:
        for file in ir.files:
            file.write_text("made")
        return ir.files

    def stage() -> Path:
        return Stages(tmp_path, lambda *s: said.append(s)).stage("make", inputs(1), produce)[0]

    assert stage() == stage() == tmp_path / "it.xml"
    (tmp_path / "it.bin").write_text("damaged")
    stage()
    assert (tmp_path / "it.bin").read_text() == "made"
    assert [needed for _, needed in said] == [True, False, True]


def test_a_twin_is_made_only_where_it_is_asked_for() -> None:
    without = make_config({"model": "m", "data": "digits"})
    assert without.stress is None
    config = make_config({"model": "m", "data": "digits", "stress": {}})
    assert config.stress == StressStage(seed=0, strength=3.0)


def test_the_demo_is_a_configuration_and_stresses_its_network(tmp_path: Path) -> None:
    config = read_config(write_demo_toml(tmp_path / "mine.toml"), {})
    assert config.stress is not None and config.baselines == DEFAULT_BASELINES


def test_the_usual_baseline_is_there_where_it_makes_the_scheme() -> None:
    usual = make_config({"model": "m", "data": "d"}).baselines
    assert usual == DEFAULT_BASELINES == ("onnxruntime", "onnxruntime-folded")
    other = {"model": "m", "data": "d", "quantize": {"scheme": "fp16", "target": "jetson"}}
    assert make_config(other).baselines == ()
    assert make_config(other | {"baselines": ["nncf"]}).baselines == ("nncf",)
    with pytest.raises(UsageError, match="quantize"):
        make_config({"model": "m", "data": "d", "quantize": 3})


def test_a_key_of_an_earlier_version_still_works(caplog: pytest.LogCaptureFixture) -> None:
    config = make_config({"model": "m", "data": "d", "rivals": ["nncf"]})
    assert config.baselines == ("nncf",)
    assert "rivals is called baselines now" in caplog.text
