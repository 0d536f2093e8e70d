"""Configurations of a run that cannot be: found before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_calls import CONFIG, Cli

BAD: dict[str, tuple[int, str, str]] = {
    "unknown key": (2, 'modle = "edgenext_small"', "Did you mean model"),
    "unknown key in a section": (2, CONFIG.format(n=8) + "round = 3", "Did you mean rounds"),
    "unknown key of the recipe": (2, CONFIG.format(n=8) + "[train]\nepoch = 3", "epoch"),
    "value of another type": (2, CONFIG.format(n=8) + 'threads = "one"', "bench.threads"),
    "value that cannot be": (2, CONFIG.format(n=8) + "[train]\nepochs = 0", "epochs"),
    "no model": (2, 'data = "digits"', "model"),
    "not TOML": (3, "model: edgenext_small", "is not TOML"),
    "unknown model": (2, 'model = "edgenext_smal"\ndata = "digits"', "edgenext_small"),
    "unknown scheme": (2, CONFIG.format(n=8).replace("n = 8", 'scheme = "w8"'), "w8a8-static"),
    "unknown target": (2, CONFIG.format(n=8).replace("n = 8", 'target = "gpu"'), "cpu-onnx"),
    "unknown engine": (2, CONFIG.format(n=8).replace("[]", '["onnxrt"]'), "onnxruntime"),
    "no round": (2, CONFIG.format(n=8).replace("rounds = 1", "rounds = 0"), "rounds"),
    "no thread": (2, CONFIG.format(n=8) + "threads = 0", "threads"),
    "no calibration image": (2, CONFIG.format(n=0), "quantize.n"),
    "too many calibration images": (3, CONFIG.format(n=5000), "5000 images were requested"),
    "twin too strong": (2, CONFIG.format(n=8) + "[stress]\nstrength = 17", "stress.strength"),
    "unknown key of the twin": (2, CONFIG.format(n=8) + "[stress]\nsede = 1", "Did you mean seed"),
    "no budget": (3, "max_drop = nan\n" + CONFIG.format(n=8), "nan instead of a finite number"),
    "missing data": (3, CONFIG.format(n=8).replace("digits", "nowhere"), "nowhere"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_configuration_that_cannot_be(cli: Cli, case: str) -> None:
    code, text, says = BAD[case]
    Path("bad.toml").write_text(text)
    # Found before anything is done: no stage is announced, no folder made.
    assert says in cli.fails(code, "run", "bad.toml")


def test_a_configuration_that_is_not_there(cli: Cli) -> None:
    assert "nowhere.toml" in cli.fails(3, "run", "nowhere.toml")
    assert "--data" in cli.fails(2, "run", "edgenext_xx_small")
    assert "run.json" in cli.fails(3, "report", ".")
