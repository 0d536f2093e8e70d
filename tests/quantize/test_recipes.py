from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgenext.errors import InputError, UsageError
from edgenext.quantize.recipe import load_recipe, parse_recipe
from edgenext.targets import target as target_module
from edgenext.targets.scheme import SCHEMES
from edgenext.targets.target import TARGETS, recipe_text, require_runnable, schemes

DEFAULT = recipe_text("cpu-onnxruntime", "w8a8-static")


@pytest.mark.parametrize("target", TARGETS)
def test_every_scheme_has_a_recipe_or_a_reason(target: str) -> None:
    runnable, reasons = schemes(target), TARGETS[target].refuses
    assert "w8a8-static" in runnable
    assert set(reasons) <= set(SCHEMES) - set(runnable)
    for scheme, row in SCHEMES.items():
        if scheme in runnable:
            recipe = load_recipe(target, scheme)
            assert (recipe.target, recipe.scheme) == (target, scheme)
        else:
            reason = reasons.get(scheme, row.refused)
            assert reason and row.refused
            with pytest.raises(
                UsageError, match=re.escape(f"{target} cannot run {scheme}: {reason}")
            ):
                require_runnable(target, scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_has_a_general_reason_and_a_target_that_runs_it(scheme: str) -> None:
    assert SCHEMES[scheme].refused
    assert any(scheme in schemes(target) for target in TARGETS)


def test_every_packaged_recipe_belongs_to_a_scheme_of_a_target() -> None:
    files = Path(target_module.__file__).parent.glob("*/*.toml")
    recipes = {(f.parent.name, f.stem) for f in files if f.name != "target.toml"}
    assert recipes == {(target, scheme) for target in TARGETS for scheme in schemes(target)}


def test_a_scheme_that_the_target_cannot_run() -> None:
    with pytest.raises(UsageError, match=r"jetson cannot run w8a16-static: TensorRT has no .*Use"):
        load_recipe("jetson", "w8a16-static")


def test_names_that_do_not_exist() -> None:
    with pytest.raises(UsageError, match="cpu-onnxruntime"):
        load_recipe("cpu-onxruntime")
    with pytest.raises(UsageError, match="w8a8-static"):
        load_recipe("cpu-onnxruntime", "w8a8-statik")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("limit = 64", "limits = 64", "Did you mean limit"),
        ("[gate]", "[gates]", "Did you mean gate"),
        ("limit = 64", "limit = 640", "less than or equal to 127"),
        ('"activation"]', '"activations"]', "sites.quantize"),
        ('method = "mse"', 'method = "mean"', "activations.method"),
        ('dtype = "uint8"', 'dtype = "int8"', r"a \[gate\] and int8 activations"),
        ('scheme = "w8a8-static"', 'scheme = "w8a8"', "w8a8-static"),
        ('target = "cpu-onnxruntime"', 'target = "cpu"', "cpu-onnxruntime"),
    ],
)
def test_mistakes_in_a_users_recipe(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in DEFAULT
    file = tmp_path / "recipe.toml"
    file.write_text(DEFAULT.replace(old, new))
    with pytest.raises(UsageError, match=message):
        load_recipe("cpu-onnxruntime", file=file)


def test_a_users_recipe(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(DEFAULT.replace("limit = 64", "limit = 127"))
    recipe = load_recipe("cpu-onnxruntime", file=file)
    assert recipe.weights is not None and recipe.weights.limit == 127
    file.write_text("= =")
    with pytest.raises(InputError, match="is not TOML"):
        load_recipe("cpu-onnxruntime", file=file)
    with pytest.raises(InputError, match="nowhere"):
        load_recipe("cpu-onnxruntime", file=tmp_path / "nowhere.toml")


def test_a_section_that_the_scheme_needs() -> None:
    with pytest.raises(UsageError, match=r"no section \[weights\], which w8a8-static needs"):
        parse_recipe('target="htp"\nscheme="w8a8-static"\nreason="x"\n', "a recipe")
