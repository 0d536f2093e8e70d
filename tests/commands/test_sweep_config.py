"""The TOML of a sweep: its points, and everything that is wrong with one in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgenext.commands.sweep_config import SweepConfig, read_sweep
from edgenext.errors import UsageError
from edgenext.options import BenchOptions

START = 'data = "digits"\nrandom_weights = true\nnum_classes = 10\n'
GRID = '[grid]\nmodel = ["edgenext_xx_small"]\nsize = [32, 64]\n'


def read(tmp_path: Path, text: str) -> SweepConfig:
    path = tmp_path / "sweep.toml"
    path.write_text(START + text)
    return read_sweep(path)


def test_points_are_every_combination_that_is_not_excluded(tmp_path: Path) -> None:
    more = 'scheme = ["fp32", "w8a8-static"]\ndevice = ["cpu"]\nseed = [0, 1]\n'
    excluded = (
        '[[exclude]]\nsize = 64\nscheme = ["w8a8-static"]\n[[exclude]]\nseed = 1\nsize = 32\n'
    )
    points = read(tmp_path, GRID + more + excluded).points
    assert [(p.size, p.scheme, p.seed) for p in points] == [
        (32, "fp32", 0),
        (32, "w8a8-static", 0),
        (64, "fp32", 0),
        (64, "fp32", 1),
    ]
    assert {p.device for p in points} == {"cpu"}
    assert {p.target for p in points} == {"cpu-onnxruntime"}


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    (first, second) = read(tmp_path, '[grid]\nmodel = ["edgenext_small"]').points
    assert (first.size, first.scheme, first.device, first.seed) == (None, "fp32", "", 0)
    assert second.scheme == "w8a8-static"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GRID + 'schemes = ["fp32"]', "unknown key in .* 'schemes'. Did you mean scheme"),
        ("limits = 3\n" + GRID, "unknown key in .* 'limits'. Did you mean limit"),
        (GRID + "[[exclude]]\nsized = 32", "unknown key in .* 'sized'. Did you mean size"),
        ("", "grid: Field required"),
        ("[grid]\nmodel = []", r"\[grid\] model is empty: it has no point"),
        (GRID + "seed = []", r"\[grid\] seed is empty"),
        (GRID + "seed = [1, 2, 1]", r"\[grid\] seed has 1 twice"),
        (GRID + "seed = [-1]", r"seed has -1"),
        (GRID + "[[exclude]]\nsize = [32, 64]", "every point of the grid is excluded"),
        (GRID + "[[exclude]]\nsize = 96", r"\[\[exclude\]\] number 1 matches no point"),
        (
            GRID + f"seed = {[*range(25_001)]}".replace(", ", ",\n"),
            "has 100,004 points, .* 100,000",
        ),
        ('[grid]\nmodel = ["edgenext_smal"]', "unknown model .* Did you mean edgenext_small"),
        (GRID + 'scheme = ["w8a8"]', "unknown scheme .* Did you mean w8a8-static"),
        (GRID + 'target = ["jetsn"]', "unknown target .* Did you mean jetson"),
        ("weights = { edgenext_smal = 'a' }\n" + GRID, "unknown model in .weights"),
        (
            "weights = 'a.pth'\n[grid]\nmodel = ['edgenext_small', 'edgenext_xx_small']",
            "weights is one file, and the grid has 2 models",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_a_grid_of_a_thousand_million_points_is_refused_at_once(tmp_path: Path) -> None:
    lists = {"size": range(32, 1032), "seed": range(1000)}
    text = '[grid]\nmodel = ["edgenext_small"]\nscheme = ["fp32"]\ntarget = ["jetson"]\n'
    text += "".join(
        f"{name} = {list(values)}\n".replace(", ", ",\n") for name, values in lists.items()
    )
    text += "device = [\n" + "".join(f'"d{i}",\n' for i in range(1000)) + "]"
    with pytest.raises(UsageError, match="has 1,000,000,000 points"):
        read(tmp_path, text)


def test_files_are_timed_as_the_section_says(tmp_path: Path) -> None:
    text = '[grid]\nmodel = ["edgenext_small"]\n[bench]\nrounds = 7\nthreads = 2\n'
    options = BenchOptions(**read(tmp_path, text).bench.model_dump())
    assert options == BenchOptions(rounds=7, threads=2)
    with pytest.raises(UsageError, match="device"):
        read(tmp_path, f'{text}device = "cpu"\n')  # an axis of the grid
