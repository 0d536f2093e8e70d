"""`edgenext.api`: the names it exports, their signatures, and the examples in their docstrings."""

from __future__ import annotations

import doctest
import inspect
import re
from functools import partial
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
tuned(model, model_options, export_options, *, rounds, context)
evaluate(subjects, data, model_options, *, target, context)
compare(base, others, data, model_options, *, target, context)
diff(a, b, data, model_options, *, threshold_db, context)
sensitivity(subject, quantize_options, model_options, *, data, limit, site, context)
search(subject, quantize_options, data, max_drop, model_options, export_options, *, objective, \
bench_options, out, announce, context)
predict(subject, images, model_options, *, top, target, context)
bench(artifacts, device, data, bench_options, *, context)
is_bundled(device)
bundle(artifacts, device, data, bench_options, *, context)
import_results(artifacts, results, data, *, device, context)
profile(artifact, *, threads, n, context)
check(artifact, target, **options)
check_range(artifact, target, *, calib, n, context)
stress(model, out, model_options, *, seed, strength, context)
prepare_training(model, data, recipe, model_options, *, context)
train(training, out, *, resume, context)
make_config(values, source)
read_config(path, overrides)
demo(out, *, epochs, limit, measure_again, announce, command, context)
write_demo_toml(path)
run(config, *, measure_again, announce, command, context)
report(run_dirs, out, *, max_drop, against, data, step_summary)
read_gate(command, options, *, artifacts, has_images, budget)
judge_results(gate, result, files)
judge_run(gate, folder, budget)
require_passed(report)
verify(subject, model_options, *, calib, source, rebuild, context)
models()
doctor(progress)
fetch(name, *, context)
make_environment(name)
add_device(name, **settings)
list_devices()
probe_device(name)
clean_device(name)
remove_device(name)
open_artifact(path)
load_checkpoint(model, weights, *, random_weights, seed, num_classes, reset_head, size, crop_pct, \
exif, labels, cache_dir)
create_model(name, num_classes, drop_path, features_only)
""".splitlines()
"""In the order in which their examples run: later ones use the files of earlier ones."""

CLASSES = {
    *("Artifact", "BenchOptions", "Checkpoint", "CiOptions", "Context", "DataOptions"),
    "ExportOptions",
    *("ModelOptions", "QuantizeOptions", "RunConfig", "Training"),
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
