from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from edgenext.errors import InputError, UsageError
from edgenext.quantize.recipe import load_recipe, parse_recipe
from edgenext.targets.scheme import SCHEMES
from edgenext.targets.target import TARGETS, schemes

DEFAULT = (
    resources.files("edgenext.quantize")
    .joinpath("recipes/cpu-onnxruntime/w8a8-static.toml")
    .read_text("utf-8")
)


@pytest.mark.parametrize("target", TARGETS)
def test_every_scheme_has_a_recipe_or_a_reason(target: str) -> None:
    able = schemes(target)
    assert "w8a8-static" in able
    assert set(able) | set(TARGETS[target].refuses) == set(SCHEMES)
    assert not set(able) & set(TARGETS[target].refuses)
    for scheme in able:
        recipe = load_recipe(target, scheme)
        assert (recipe.target, recipe.scheme) == (target, scheme)


def test_no_recipe_is_for_nobody() -> None:
    folders = resources.files("edgenext.quantize").joinpath("recipes").iterdir()
    assert {f.name for f in folders} == set(TARGETS)


def test_a_scheme_that_the_target_cannot_run() -> None:
    with pytest.raises(UsageError, match=r"jetson cannot run w8a16-static: TensorRT has no .*Use"):
        load_recipe("jetson", "w8a16-static")


def test_names_that_do_not_exist() -> None:
    with pytest.raises(UsageError, match="cpu-onnxruntime"):
        load_recipe("cpu-onxruntime")
    with pytest.raises(UsageError, match="w8a8-static"):
        load_recipe("cpu-onnxruntime", "w8a8-statik")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("limit = 64", "limits = 64", "Did you mean limit"),
        ("[gate]", "[gates]", "Did you mean gate"),
        ("limit = 64", "limit = 640", "less than or equal to 127"),
        ('"activation"]', '"activations"]', "sites.quantize"),
        ('method = "mse"', 'method = "mean"', "activations.method"),
        ('scheme = "w8a8-static"', 'scheme = "w8a8"', "w8a8-static"),
        ('target = "cpu-onnxruntime"', 'target = "cpu"', "cpu-onnxruntime"),
    ],
)
def test_mistakes_in_a_recipe_of_ones_own(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in DEFAULT
    file = tmp_path / "mine.toml"
    file.write_text(DEFAULT.replace(old, new))
    with pytest.raises(UsageError, match=said):
        load_recipe("cpu-onnxruntime", file=file)


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(DEFAULT.replace("limit = 64", "limit = 127"))
    recipe = load_recipe("cpu-onnxruntime", file=file)
    assert recipe.weights is not None and recipe.weights.limit == 127
    file.write_text("= =")
    with pytest.raises(InputError, match="TOML"):
        load_recipe("cpu-onnxruntime", file=file)
    with pytest.raises(InputError, match="nowhere"):
        load_recipe("cpu-onnxruntime", file=tmp_path / "nowhere.toml")


def test_a_section_that_the_scheme_needs() -> None:
    with pytest.raises(UsageError, match=r"no \[weights\]"):
        parse_recipe('target="htp"\nscheme="w8a8-static"\nreason="x"\n', "mine")
