"""Latency and accuracy of the same files, here or on a device."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from edgenext.benchmark.latency import bench_artifacts
from edgenext.commands.compare import compared
from edgenext.commands.context import Context
from edgenext.commands.evaluate import evaluate_subjects, evaluating_steps
from edgenext.commands.images import labelled_images
from edgenext.commands.subject import Subject
from edgenext.data import ImageSet, require_disjoint
from edgenext.devices.bench import bench_device
from edgenext.devices.bundles.bench import bench_mac, make_bundle, results_report
from edgenext.devices.javascript.bench import ShowPage, bench_javascript
from edgenext.devices.javascript.web import log_page
from edgenext.devices.registry import find_device, known_devices
from edgenext.errors import UsageError
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.metrics.accuracy import eval_report
from edgenext.options import BENCH, THIS_CPU, BenchOptions, DataOptions
from edgenext.report.load import load_summary, newest_run
from edgenext.schema import SCRIPTED, BenchReport, Device


def bench(
    artifacts: Sequence[str | Path],
    device: str = THIS_CPU,
    data: DataOptions | str | Path | None = None,
    bench_options: BenchOptions = BENCH,
    *,
    show_page: ShowPage = log_page,
    context: Context | None = None,
) -> BenchReport:
    """Latency of artifacts, interleaved, and their accuracy on `data` if there is any.

    Args:
        artifacts: paths of files; the first is the base of ratios and drops.
        device: `cpu` for this machine, else a device's name or the kind of the only one.
        data: images to score the same files on.
        bench_options: threads, batch, rounds, compute unit.
        show_page: told the address of a page that somebody has to open to measure there.
        context: what was loaded before.

    Raises:
        UsageError: no such device, or an option that it does not take.
        OverlapError: an artifact was calibrated on some of the images.
        DeviceError: the device cannot be reached, refuses, fails or answers nonsense.

    >>> files = [Path(f"edgenext_xx_small-32-{kind}.onnx") for kind in ("fp32", "w8a8-static")]
    >>> report = bench(files, bench_options=BenchOptions(rounds=1))
    >>> [result.p50_ms > 0 for result in report.results]
    [True, True]
    """
    context = context or Context()
    files = [open_artifact(path) for path in artifacts]
    if device == THIS_CPU:
        return _bench_here(files, data, bench_options, context)

    known = find_device(device)
    measure: Callable[..., BenchReport] = bench_mac if known.bundle else bench_device
    if known.kind in SCRIPTED:
        measure = partial(bench_javascript, show_page=show_page)
    before, after = (("decoding *",), ("evaluating *",)) if data is not None else ((), ())
    with context.progress.steps(*before, "sending to *", "benchmarking *", *after):
        images = _images(files, data, context)
        return measure(known, files, images, bench_options, progress=context.progress)


def is_bundled(device: str) -> bool:
    """Whether a device is measured by a bundle that somebody carries there.

    Raises:
        UsageError: no such device.

    >>> is_bundled("cpu")
    False
    """
    if device == THIS_CPU:
        return False

    return bool(find_device(device).bundle) and sys.platform != "darwin"


def bundle(
    artifacts: Sequence[str | Path],
    device: str,
    data: DataOptions | str | Path | None = None,
    bench_options: BenchOptions = BENCH,
    *,
    context: Context | None = None,
) -> Path:
    """Write a bundle to measure on a device without a link; its folder. Arguments as in `bench`.

    Raises:
        UsageError: no such device, or files that it cannot run.
        OutputError: the bundle is there already, or cannot be written.

    >>> bundle([Path("edgenext_xx_small-32-fp32.onnx")], "my-iphone")
    Traceback (most recent call last):
    edgenext.errors.UsageError: unknown device 'my-iphone'. Did you mean iphone?
    """
    files = [open_artifact(path) for path in artifacts]
    images = _images(files, data, context or Context())
    return make_bundle(find_device(device), files, images, bench_options)


def newest_artifacts(folder: Path, remedy: str) -> tuple[Path, list[Path]]:
    """The run in a folder, or below it, that was finished last, and the paths of its artifacts.

    Args:
        folder: where to look.
        remedy: said where there is no run.

    Raises:
        UsageError: there is no finished run.
    """
    run_dir = newest_run(folder)
    if run_dir is None:
        raise UsageError("no artifact is named, and no finished run is here", remedy)
    return run_dir, [run_dir / entry.artifact for entry in load_summary(run_dir).artifacts]


def import_results(
    artifacts: Sequence[str | Path],
    results: Path,
    data: DataOptions | str | Path | None = None,
    *,
    device: str = "iphone",
    context: Context | None = None,
) -> BenchReport:
    """The report of results that came back from a bundle of these artifacts.

    Args:
        artifacts: paths of the files that the bundle was written of.
        results: the folder of the results, or of the bundle that has them.
        data: the images that the bundle has.
        device: what the report calls the device.
        context: what was loaded before.

    Raises:
        DeviceError: they are not whole, were changed, or are of other files or images.

    >>> import_results([Path("edgenext_xx_small-32-fp32.onnx")], Path("results"))
    Traceback (most recent call last):
    edgenext.errors.DeviceError: no results.jsonl at results. ...
    """
    files = [open_artifact(path) for path in artifacts]
    images = _images(files, data, context or Context())
    unknown = Device(name=device, kind="iphone", bundle=str(results))
    return results_report(results, files, images, known_devices().get(device, unknown))


def _images(
    artifacts: Sequence[Artifact], data: DataOptions | str | Path | None, context: Context
) -> ImageSet | None:
    """The images that artifacts are scored on; none of them may have been calibrated on one."""
    if data is None:
        return None

    subjects = [Subject(artifact=artifact) for artifact in artifacts]
    images = labelled_images(context, subjects[0], DataOptions.of(data))
    for subject in subjects:
        require_disjoint(images, *subject.fitted_on)
    return images


def _bench_here(
    artifacts: Sequence[Artifact],
    data: DataOptions | str | Path | None,
    options: BenchOptions,
    context: Context,
) -> BenchReport:

    if options.unit not in ("", THIS_CPU):
        raise UsageError(
            f"--unit {options.unit} is of a device, and this machine is measured on its CPU",
            "Leave --unit out, or name a --device",
        )
    subjects = [Subject(artifact=artifact) for artifact in artifacts]
    for subject in subjects if data is not None else ():
        subject.require_logits()
    scoring = () if data is None else evaluating_steps(subjects)
    with context.progress.steps("benchmarking", *scoring):
        report = bench_artifacts(artifacts, options, context.progress)
        if data is None:
            return report
        evaluation = evaluate_subjects(subjects, DataOptions.of(data), context)
    scores = {"eval": eval_report(evaluation.predictions, evaluation.images)}
    if len(artifacts) > 1:
        return report.model_copy(update=scores | {"compare": compared(evaluation)})
    return report.model_copy(update=scores)
