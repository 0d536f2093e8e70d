"""`edgenext.api`: the names it exports, their signatures, and the examples in their docstrings."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import textwrap
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

import edgenext
from edgenext import api
from edgenext.cli.group import listed
from edgenext.commands import search
from edgenext.quantize import mixed_precision

FUNCTIONS = """\
export(model, model_options, export_options, *, out, data, context)
quantize(subject, quantize_options, model_options, export_options, *, out, context)
adopt(artifact, adopt_options, *, context)
tuned(model, model_options, export_options, *, rounds, context)
fastest(subject, quantize_options, model_options, export_options, *, bench_options, out, data, \
context)
backbone(model, model_options, *, context)
evaluate(subjects, data, model_options, *, target, context)
compare(base, others, data, model_options, *, max_drop, target, context)
diff(a, b, data, model_options, *, threshold_db, context)
sensitivity(subject, quantize_options, model_options, *, data, limit, site, context)
search(subject, data, quantize_options, model_options, export_options, *, max_drop, all_images, \
objective, bench_options, out, announce, context)
predict(subject, images, model_options, *, top, target, context)
package(artifacts, *, image, data, results, out, context)
bench(artifacts, device, data, bench_options, *, show_page, context)
is_bundled(device)
bundle(artifacts, device, data, bench_options, *, context)
import_results(artifacts, results, data, *, device, context)
profile(artifact, *, threads, n, context)
check(artifact, *, target, context, **options)
check_range(artifact, *, target, calib, n, context)
stress(model, model_options, *, out, seed, strength, context)
load_recipe(name, **changes)
choose_recipe(model, data, model_options, *, context, **changes)
prepare_training(model, data, recipe, model_options, *, val_data, context)
open_teacher(name, classes, *, weights)
train(training, *, out, resume, settings, hooks, on_epoch, context)
make_config(values, source)
read_config(path, overrides)
demo(*, out, epochs, limit, measure_again, announce, command, context)
write_demo_toml(path)
run(config, *, measure_again, announce, command, context)
read_sweep(path, overrides)
sweep(config, *, scheduler, workers, measure_again, context)
require_complete(report, *, out)
report(run_dirs, *, out, max_drop, against, data, step_summary)
read_gate(command, options, *, artifacts, has_images, max_drop)
judge_results(gate, result, files)
judge_run(gate, folder, *, max_drop)
require_passed(report)
verify(subject, model_options, *, calib, source, rebuild, context)
models()
doctor(*, context)
fetch(name, *, context)
make_environment(name)
add_device(name, **settings)
list_devices()
probe_device(name)
clean_device(name)
remove_device(name)
open_artifact(path)
load_checkpoint(model, weights, *, random_weights, seed, num_classes, reset_head, backbone, size, \
crop_pct, exif, labels, cache_dir)
create_model(name, num_classes, *, drop_path, features_only)
""".splitlines()
"""In the order in which their examples run: later ones use the files of earlier ones."""

CLASSES = {
    *(
        "AdoptOptions",
        "Artifact",
        "BenchOptions",
        "Checkpoint",
        "CiOptions",
        "Context",
        "DataOptions",
    ),
    *("Distillation", "ExportOptions", "Hooks", "ModelOptions", "QatOptions", "QuantizeOptions"),
    *("RunConfig", "SweepConfig", "TrainRecipe", "TrainSettings", "Training"),
}
COMMANDS = {"eval": "evaluate", "devices": "list_devices", "env": "make_environment"}
"""Commands whose function has another name."""


def signature(name: str) -> str:
    """A function's parameters without types and defaults."""
    parameters = inspect.signature(getattr(api, name)).parameters.values()
    bare = [p.replace(annotation=p.empty, default=p.empty) for p in parameters]
    return f"{name}{inspect.Signature(bare)}"


NAMES = [line.partition("(")[0] for line in FUNCTIONS]


def test_the_names_and_signatures_are_these() -> None:
    assert set(dir(api)) == CLASSES | set(NAMES)
    assert [signature(name) for name in NAMES] == FUNCTIONS


ORDER = (
    {"model", "subject", "subjects", "base", "others", "a", "b", "artifact", "artifacts"},
    {
        "training",
        "config",
        "run_dirs",
        "gate",
        "result",
        "report",
        "folder",
        "command",
        "name",
        "path",
    },
    {"device", "results", "files", "values", "weights", "num_classes", "classes"},
    {"data", "images"},
    {
        "adopt_options",
        "quantize_options",
        "bench_options",
        "recipe",
        "options",
        "overrides",
        "source",
    },
    {"model_options"},
    {"export_options"},
)
"""Parameters without a name in a call, in the one order in which they come: what it is about, the
device, the images, the options of the command, of the model, of the export."""


@pytest.mark.parametrize("name", NAMES)
def test_arguments_come_in_one_order(name: str) -> None:
    parameters = inspect.signature(getattr(api, name)).parameters.values()
    ranks = [
        next(rank for rank, names in enumerate(ORDER) if p.name in names)
        for p in parameters
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    assert ranks == sorted(ranks)
    by_name = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert all(p.default is not p.empty for p in by_name), "what is needed comes first"
    if "context" in [p.name for p in parameters]:
        assert by_name[-1].name == "context" and by_name[-1].default is None


def test_options_have_the_same_defaults_everywhere() -> None:
    defaults: dict[str, set[str]] = {}
    for name in NAMES:
        for p in inspect.signature(getattr(api, name)).parameters.values():
            if p.name in ("model_options", "export_options", "bench_options", "target", "top"):
                defaults.setdefault(p.name, set()).add(repr(p.default))
    assert {name for name, values in defaults.items() if len(values) > 1} == set()


@pytest.mark.parametrize("name", sorted(CLASSES | {*NAMES}))
def test_docstrings_stand_alone(name: str) -> None:
    """Of functions with every argument, of classes with every field and method."""
    thing = getattr(api, name)
    doc = inspect.getdoc(thing) or ""
    assert doc and doc[0].isupper() and doc.partition("\n")[0].endswith((".", "`."))
    if not inspect.isclass(thing):
        arguments = [p for p in inspect.signature(thing).parameters if p not in ("settings",)]
        unsaid = [a for a in arguments if not re.search(rf"\b{a}s?\b", doc)]
        assert not unsaid or "Arguments as in" in doc
        return
    if name != "RunConfig":  # docs/run.md has its fields
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(thing))).body
        assert isinstance(definition, ast.ClassDef)
        for field, after in pairwise(definition.body):
            if isinstance(field, ast.AnnAssign) and not ast.unparse(field.target).startswith("_"):
                said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                assert said, ast.unparse(field.target)
    for method, value in vars(thing).items():
        if not method.startswith("_") and (inspect.isfunction(value) or hasattr(value, "fget")):
            assert inspect.getdoc(value), method


def test_every_command_is_a_function() -> None:
    for command in listed():
        assert COMMANDS.get(command, command) in NAMES


def test_the_version_is_the_package_s() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", edgenext.__version__)
    with pytest.raises(AttributeError, match="no attribute 'versoin'"):
        edgenext.versoin  # noqa: B018


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the examples run, one after the other."""
    return tmp_path_factory.mktemp("examples")


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_docstring(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EDGENEXT_DEVICES", str(folder / "devices.json"))
    if name == "search":  # it measures every site's noise, of which a few will do here
        monkeypatch.setattr(search, "sensitivity", partial(api.sensitivity, site="stages.0.0.*"))
        monkeypatch.setattr(mixed_precision, "STEPS", (1,))
    function = getattr(api, name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(verbose=False, optionflags=flags)
    names = {public: getattr(api, public) for public in dir(api)}
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name, globs=names)
    test.globs |= function.__globals__
    assert test.examples, f"{name} has no example"
    output: list[str] = []
    runner.run(test, out=output.append)
    assert runner.failures == 0, "".join(output)
