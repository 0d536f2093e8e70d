"""Bundles: written, run, imported, and the results that are refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from changed_files import require_named
from devices.pooled_packages import CLASSES, SIDE, core_package, run_bundle, some_images

from edgenext import api
from edgenext.devices.bundles.bundle import RUNNER, bundle_job, file_names, write_bundle
from edgenext.devices.bundles.results import read_results
from edgenext.devices.results import read_logits
from edgenext.errors import ArtifactError, DeviceError, OutputError, UsageError
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.formats.runtimes import open_session
from edgenext.formats.session import Images, logits, normalise

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning:coremltools"),
]

ROUNDS = 3
Pair = tuple[Artifact, Artifact]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("packages")
    return core_package(folder, "a", 0), core_package(folder, "b", 1)


@pytest.fixture(scope="module")
def images() -> Images:
    return some_images(5)


def bundled(
    folder: Path, artifacts: Sequence[Artifact], images: Images | None, **settings: Any
) -> Path:
    return write_bundle(folder, artifacts, images, bundle_job(artifacts, images, **settings))


@pytest.fixture(scope="module")
def done(pair: Pair, images: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with its results."""
    bundle = bundled(tmp_path_factory.mktemp("done") / "bundle", pair, images, rounds=ROUNDS)
    run_bundle(bundle)
    return bundle


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(done, tmp_path / "bundle")


def test_one_changed_byte_of_a_bundle_is_named(copy: Path) -> None:
    report = api.verify(copy)
    assert report.sound and report.uncovered == ()
    for path in copy.rglob("*"):
        if path.is_file():
            require_named(copy, path)


def test_what_is_in_a_bundle(done: Path, pair: Pair, images: Images) -> None:
    job = json.loads((done / "job.json").read_text())
    assert (job["protocol"], job["rounds"], job["burst_ms"], len(job["job"])) == (1, 3, 40.0, 16)
    assert [a["file"] for a in job["artifacts"]] == ["a.mlpackage", "b.mlpackage"]
    assert job["artifacts"][0]["input"]["shape"] == [1, 3, SIDE, SIDE]
    assert {a["unit"] for a in job["artifacts"]} == {"ane"}
    assert job["images"]["shape"] == list(images.shape)
    pixels = (done / "images.u8").read_bytes()
    assert pixels == images.tobytes()
    assert job["images"]["sha256"] == hashlib.sha256(pixels).hexdigest()
    for artifact, job_artifact in zip(pair, job["artifacts"], strict=True):
        assert job_artifact["sha256"] == artifact.manifest.sha256
        assert (
            open_artifact(done / job_artifact["file"]).manifest.sha256 == artifact.manifest.sha256
        )
    assert (done / "runner/Package.swift").is_file()
    assert (
        "edgenext bench a.mlpackage b.mlpackage --import results"
        in (done / "README.txt").read_text()
    )
    assert not list(done.parent.glob(".*"))


def test_a_round_trip(done: Path, pair: Pair, images: Images) -> None:
    for path in (done, done / "results", done / "results/results.jsonl"):
        record = read_results(path, pair, images=images)
        assert (record.done, record.environment.cpu) == (True, "A17")
        for artifact in pair:
            measurements = record.artifacts[artifact.manifest.sha256]
            assert len(measurements.rounds) == ROUNDS
            assert measurements.logits is not None
            expected = np.concatenate(list(logits(open_session(artifact, 1), images)))
            np.testing.assert_array_equal(
                read_logits(measurements.logits, len(images), CLASSES, "a"), expected
            )


def test_the_same_job_has_the_same_name(done: Path, pair: Pair) -> None:
    def job_of(images: Images, **settings: Any) -> str:
        return bundle_job(pair, images, **settings).job

    named = json.loads((done / "job.json").read_text())["job"]
    assert job_of(some_images(5), rounds=ROUNDS) == named
    assert job_of(some_images(5), rounds=4) != named
    assert job_of(some_images(5), rounds=ROUNDS, unit="gpu") != named
    assert job_of(some_images(4), rounds=ROUNDS) != named


def test_names_are_plain_and_each_stands_once(pair: Pair) -> None:
    def names_of(*paths: str) -> list[str]:
        artifacts = [
            Artifact(Path(path), pair[0].manifest.model_copy(update={"sha256": f"{n:064}"}))
            for n, path in enumerate(paths)
        ]
        return file_names(artifacts)

    assert names_of("x/a.mlpackage", "y/A.mlpackage", "a.mlpackage") == [
        "a.mlpackage",
        "A-2.mlpackage",
        "a-3.mlpackage",
    ]
    assert names_of(".h:i \n.mlpackage", "job.json", "Runner") == [
        "h_i__.mlpackage",
        "job-2.json",
        "Runner-2",
    ]
    assert names_of("a", "a.json") == ["a", "a-2.json"]


def test_files_that_only_are_timed_prepare_images_as_they_like(pair: Pair, tmp_path: Path) -> None:
    a, b = pair
    other = b.manifest.eval.model_copy(update={"mean": (0.0, 0.0, 0.0)})
    odd = replace(b, manifest=b.manifest.model_copy(update={"eval": other}))
    job = json.loads((bundled(tmp_path / "bundle", [a, odd], None) / "job.json").read_text())
    assert len(job["artifacts"]) == 2 and job["mean"] == list(a.manifest.eval.mean)


def test_what_cannot_be_bundled(pair: Pair, images: Images, tmp_path: Path) -> None:
    a, b = pair
    onnx = replace(b, manifest=b.manifest.model_copy(update={"format": "onnx"}))
    other = b.manifest.eval.model_copy(update={"mean": (0.0, 0.0, 0.0)})
    odd = replace(b, manifest=b.manifest.model_copy(update={"eval": other}))
    cases: list[tuple[list[Artifact], Images | None, dict[str, Any], str]] = [
        ([], None, {}, "nothing to measure"),
        ([a, a], None, {}, "given twice"),
        ([a, onnx], None, {}, "--format coreml"),
        ([a, odd], images, {}, "in different ways"),
        ([a], None, {"rounds": 0}, "rounds"),
        ([a], None, {"burst_ms": "long"}, "burst_ms"),
        ([a], images.astype(np.float32), {}, "uint8"),
    ]
    for artifacts, pixels, job, reason in cases:
        with pytest.raises(UsageError, match=reason):
            bundled(tmp_path / "bundle", artifacts, pixels, **job)
    mismatched = replace(a, manifest=a.manifest.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(ArtifactError, match="is not the file of its manifest"):
        bundled(tmp_path / "bundle", [mismatched], None)
    assert not list(tmp_path.iterdir())


def test_results_are_not_overwritten(done: Path, pair: Pair) -> None:
    with pytest.raises(OutputError, match="exists already, perhaps with results"):
        bundled(done, pair, None)


def edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def sealed(folder: Path, change: Callable[[str], str]) -> None:
    """Change the events, with a hash that matches them."""
    path = folder / "results/results.jsonl"
    *lines, _ = path.read_text().splitlines(keepends=True)
    events = change("".join(lines)).encode()
    last = json.dumps({"event": "done", "sha256": hashlib.sha256(events).hexdigest()})
    path.write_bytes(events + last.encode() + b"\n")


def without_last_round(text: str) -> str:
    lines = text.splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if '"round"' in line)
    return "".join(lines[:last] + lines[last + 1 :])


def spoil_logits(folder: Path, change: Callable[[bytes], bytes], *, fits: bool = True) -> None:
    path = min((folder / "results").glob("logits-*"))
    before = path.read_bytes()
    after = change(before)
    path.write_bytes(after)
    old, new = (hashlib.sha256(data).hexdigest() for data in (before, after))
    if fits:
        sealed(folder, lambda text: text.replace(old, new))


def linked(path: Path) -> None:
    target = path.rename(path.with_name("elsewhere"))
    path.symlink_to(target, target_is_directory=target.is_dir())


LINES, JOB = "results/results.jsonl", "results/job.json"
NAN = np.float32("nan").tobytes()
TAMPERINGS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a sample": (lambda f: edit(f / LINES, lambda t: t.replace("1.1", "0.1", 1)), "not what the"),
    "a line": (lambda f: edit(f / LINES, without_last_round), "rounds|not what the"),
    "a round": (lambda f: sealed(f, without_last_round), "2 of 3 rounds"),
    "cut in a line": (lambda f: edit(f / LINES, lambda t: t[:-9]), "ends in the middle of a line"),
    "cut at a line": (
        lambda f: edit(f / LINES, lambda t: "".join(t.splitlines(keepends=True)[:-1])),
        "was interrupted",
    ),
    "empty": (lambda f: (f / LINES).write_text(""), "reported no event"),
    "binary": (lambda f: (f / LINES).write_bytes(b"\xff\x00\n"), "is invalid"),
    "NaN": (lambda f: sealed(f, lambda t: t.replace("1.1", "NaN", 1)), "is invalid"),
    "NaN logits": (
        lambda f: spoil_logits(f, lambda d: NAN + d[4:]),
        "not finite, of 1 of 5 images",
    ),
    "fewer logits": (lambda f: spoil_logits(f, lambda d: d[:-4]), "96 bytes"),
    "more logits": (lambda f: spoil_logits(f, lambda d: d + d), "200 bytes"),
    "other logits": (
        lambda f: spoil_logits(f, lambda d: d[4:] + d[:4], fits=False),
        "not what the runner wrote",
    ),
    "no logits": (lambda f: min((f / "results").glob("logits-*")).unlink(), "cannot read"),
    "unfinished logits": (
        lambda f: sealed(f, lambda t: t.replace('"done": 5', '"done": 4')),
        "logits of 4 of 5 images",
    ),
    "another job's lines": (
        lambda f: sealed(f, lambda t: t.replace('"job": "', '"job": "x')),
        "beside the job.json of",
    ),
    "another artifact": (
        lambda f: sealed(
            f,
            lambda t: (
                t + json.dumps({"event": "peak", "artifact": "0" * 64, "peak_rss_mb": 1}) + "\n"
            ),
        ),
        "not in their job",
    ),
    "a failure": (
        lambda f: sealed(f, lambda t: t + '{"event": "error", "message": "broken bundle"}\n'),
        "could not measure: broken bundle",
    ),
    "no job": (lambda f: (f / JOB).unlink(), "cannot read"),
    "a job that is none": (lambda f: (f / JOB).write_text("{}"), "is not a job"),
    "a path in a job": (
        lambda f: edit(f / JOB, lambda t: t.replace('"a.mlpackage"', '"../a.mlpackage"')),
        "is not a job: artifacts.0.file",
    ),
    "an absolute path": (
        lambda f: edit(f / JOB, lambda t: t.replace('"images.u8"', '"/etc/passwd"')),
        "is not a job: images.file",
    ),
    "linked lines": (lambda f: linked(f / LINES), "is a link"),
    "a linked job": (lambda f: linked(f / JOB), "is a link"),
    "linked logits": (lambda f: linked(min((f / "results").glob("logits-*"))), "is a link"),
    "a linked folder": (lambda f: linked(f / "results"), "is a link"),
    "nothing": (lambda f: shutil.rmtree(f / "results"), "no results.jsonl"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_results_that_were_changed_are_refused(
    copy: Path, pair: Pair, images: Images, name: str
) -> None:
    tamper, reason = TAMPERINGS[name]
    tamper(copy)
    with pytest.raises(DeviceError, match=reason) as caught:
        read_results(copy, pair, images=images)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_results_of_other_files_and_images(
    copy: Path, pair: Pair, images: Images, tmp_path: Path
) -> None:
    a, b = pair
    for artifacts, reason in (
        ((a,), "b was not given"),
        ((a, b, core_package(tmp_path, "c", 2)), "c is not in them"),
    ):
        with pytest.raises(DeviceError, match=reason):
            read_results(copy, artifacts)
    for other in (images[:4], images[:, ::-1], images[..., ::-1]):
        with pytest.raises(DeviceError, match="other images"):
            read_results(copy, pair, images=other)
    copied = open_artifact(copy / "a.mlpackage")
    read_results(copy, (copied, b), images=images)
    weights = next(p for p in copied.path.rglob("*.mlmodel"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(DeviceError, match="has changed since"):
        read_results(copy, (copied, b), images=images)


def test_an_artifact_that_failed_leaves_the_others(copy: Path, pair: Pair) -> None:
    a, b = (artifact.manifest.sha256 for artifact in pair)

    def fail(text: str) -> str:
        others = [line for line in text.splitlines(keepends=True) if a not in line]
        return (
            "".join(others) + json.dumps({"event": "error", "artifact": a, "message": "old"}) + "\n"
        )

    sealed(copy, fail)
    record = read_results(copy, pair)
    assert [(e.artifact, e.message) for e in record.errors] == [(a, "old")]
    assert record.artifacts.keys() == {b}


def swift() -> str | None:
    """A Swift compiler; another program has the same name."""
    path = shutil.which(os.environ.get("EDGENEXT_SWIFT", "swift"))
    version = path and subprocess.run([path, "--version"], capture_output=True, text=True)
    return path if version and "Swift version" in version.stdout + version.stderr else None


def test_nothing_but_sources_goes_into_a_bundle() -> None:
    suffixes = {p.suffix for p in RUNNER.rglob("*") if p.is_file() and ".build" not in p.parts}
    assert suffixes == {".swift", ".txt"}


@pytest.mark.slow
@pytest.mark.skipif(swift() is None, reason="no Swift compiler (set EDGENEXT_SWIFT)")
def test_the_swift_runner(pair: Pair, images: Images, tmp_path: Path) -> None:
    """All of it except Core ML, which its tests replace."""
    bundle = bundled(tmp_path / "bundle", pair, images, rounds=ROUNDS)
    subprocess.run(
        [str(swift()), "test", "--package-path", str(bundle / "runner")],
        env=os.environ | {"EDGERUNNER_BUNDLE": str(bundle), "EDGERUNNER_CLASSES": str(CLASSES)},
        check=True,
    )
    record = read_results(bundle, pair, images=images)
    x = normalise(images, pair[0].manifest.eval).mean((2, 3), np.float64)
    expected = np.stack([(k + 1) * x[:, k % 3] for k in range(CLASSES)], 1)
    for measurements in record.artifacts.values():
        assert measurements.ready is not None
        assert (len(measurements.rounds), measurements.ready.unit) == (ROUNDS, "ane")
        assert all(len(one) == measurements.ready.ready.burst for one in measurements.rounds)
        assert measurements.logits is not None
        logits_read = read_logits(measurements.logits, len(images), CLASSES, "a")
        np.testing.assert_allclose(logits_read, expected, 1e-4, 1e-5)
