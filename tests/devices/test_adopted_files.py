"""Files of others on a device: timed together, and scored as they are here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli.cli_calls import Cli
from foreign_files import MEAN, STD, Variant, write_classifier

from edgenext import api
from edgenext.errors import UsageError
from edgenext.options import AdoptOptions, BenchOptions, DataOptions

VARIANTS = {
    "softmax": (Variant(last=True, softmax=True), AdoptOptions(mean=MEAN, std=STD)),
    "bytes": (Variant(dtype="uint8", spatial=True), AdoptOptions()),
}
ROUND = BenchOptions(rounds=1)


@pytest.mark.slow
def test_a_device_measures_files_of_others(cli: Cli, tmp_path: Path) -> None:
    cli.ok("devices", "add", "here", "--local", "--python", sys.executable)
    files = [
        api.adopt(write_classifier(tmp_path / f"{name}.onnx", variant), options).path
        for name, (variant, options) in VARIANTS.items()
    ]
    timed = api.bench(files, "here", bench_options=ROUND)
    assert [result.n > 0 for result in timed.results] == [True, True]
    data = DataOptions("digits", limit=10)
    with pytest.raises(UsageError, match="prepare images in different ways"):
        api.bench(files, "here", data, ROUND)
    for file in files:
        scored = api.bench([file], "here", data, ROUND).eval
        expected = api.evaluate([file], data).results[0]
        assert scored and scored.results[0].loss == pytest.approx(expected.loss, abs=1e-4)
        assert scored.results[0].top1 == expected.top1
