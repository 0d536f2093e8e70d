"""Worker processes: their answers, their errors, and that none is left behind."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from edgenext.benchmark.executor import WorkerProcess
from edgenext.benchmark.worker import (
    WorkerJob,
    burst_size,
    input_size,
    peak_rss,
    random_images,
    serve,
    settled,
)
from edgenext.errors import ArtifactError, RuntimeFailedError
from edgenext.formats.artifact import Artifact
from edgenext.schema import TensorSpec

ROOT = Path(__file__).parents[2]


def job(artifact: Artifact, threads: int = 1, batch: int = 1) -> WorkerJob:
    manifest = artifact.manifest.model_dump(mode="json")
    return WorkerJob(str(artifact.path), manifest, threads, batch, 0, (0,))


def gone(pids: list[int], within: float = 10) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not any(psutil.pid_exists(p) and not zombie(p) for p in pids):
            return True
        time.sleep(0.05)
    return False


def comes_to_rest(pid: int, within: float = 10) -> bool:
    end = time.monotonic() + within
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED and time.monotonic() < end:
        time.sleep(0.01)
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


def zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("samples", "warm"),
    [
        ([1.0] * 9, False),
        ([1.0] * 10, True),
        ([9.0] * 5 + [1.0] * 5, False),
        ([9.0] * 5 + [1.0] * 10, True),
        ([1.0] * 5 + [1.01] * 5, True),
        ([1.0] * 5 + [1.03] * 5, False),
        ([1.0, 1.0, 50.0, 1.0, 1.0] * 2, True),
    ],
)
def test_warm_is_when_the_running_median_rests(samples: list[float], warm: bool) -> None:
    assert settled(samples) is warm


@pytest.mark.parametrize(("ms", "n"), [(200.0, 3), (10.0, 4), (9.9, 5), (1.0, 40), (0.001, 400)])
def test_a_burst_takes_about_forty_ms(ms: float, n: int) -> None:
    assert burst_size([99.0] * 5 + [ms] * 5) == n


def test_the_input_is_the_same_for_all_of_one_size(make_artifact: Callable[..., Artifact]) -> None:
    one, other = make_artifact("one").manifest, make_artifact("other", channels=4).manifest
    images = random_images(one, 2, seed=3)
    assert images.shape == (2, 32, 32, 3)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, random_images(other, 2, seed=3))
    assert (images != random_images(one, 2, seed=4)).any()


@pytest.mark.parametrize(
    ("shape", "dtype", "size"),
    [
        ((1, 3, 48, 64), "float32", (48, 64)),
        ((-1, 48, 64, 3), "uint8", (48, 64)),
        ((-1, 3, -1, -1), "float32", (32, 32)),
    ],
)
def test_input_size(
    make_artifact: Callable[..., Artifact],
    shape: tuple[int, ...],
    dtype: str,
    size: tuple[int, int],
) -> None:
    spec = TensorSpec.model_validate({"name": "input", "shape": shape, "dtype": dtype})
    assert input_size(make_artifact().manifest.model_copy(update={"input": spec})) == size


def test_a_worker_loads_warms_and_runs(make_artifact: Callable[..., Artifact]) -> None:
    with WorkerProcess("tiny", job(make_artifact())) as worker:
        worker.start()
        loaded = worker.loaded
        assert (loaded.runtime, loaded.evidence, loaded.batch) == ("onnxruntime", "host", 1)
        assert loaded.warmup >= 10
        assert loaded.load_ms > 0
        assert loaded.first_ms > 0
        if hasattr(psutil.Process(), "cpu_affinity"):
            assert loaded.cpus == (0,)
            assert psutil.Process(worker.pid).cpu_affinity() == [0]
        samples = worker.burst()
        assert len(samples) == loaded.burst
        assert min(samples) > 0
        assert 0 <= worker.peak_rss_mb() < 500
        pid = worker.pid
    assert gone([pid])


def test_idle_workers_with_several_threads_are_held_still(
    make_artifact: Callable[..., Artifact],
) -> None:
    with WorkerProcess("tiny", job(make_artifact(), threads=2)) as worker:
        worker.start()
        assert comes_to_rest(worker.pid)
        assert len(worker.burst()) == worker.loaded.burst
        assert comes_to_rest(worker.pid)
        assert worker.peak_rss_mb() >= 0
        pid = worker.pid
    assert gone([pid])


def test_a_fixed_batch_is_run_as_it_is(make_artifact: Callable[..., Artifact]) -> None:
    with WorkerProcess("two", job(make_artifact("two", batch=2), batch=5)) as worker:
        worker.start()
        assert worker.loaded.batch == 2


def test_a_killed_worker_is_an_error_that_names_the_artifact(
    make_artifact: Callable[..., Artifact],
) -> None:
    with WorkerProcess("small-int8", job(make_artifact())) as worker:
        worker.start()
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(RuntimeFailedError) as failure:
            worker.burst()
    assert failure.value.message == "the process that runs small-int8 was killed by SIGKILL"
    assert "memory" in failure.value.remedy
    assert gone([worker.pid])


def test_a_worker_that_dies_is_quoted(make_artifact: Callable[..., Artifact]) -> None:
    code = (
        "import sys; sys.stdin.readline(); print('one\\n\\ntwo\\nthree\\nfour', file=sys.stderr);"
    )
    command = (sys.executable, "-c", code + "sys.exit(3)")
    with (
        WorkerProcess("tiny", job(make_artifact()), command=command) as worker,
        pytest.raises(RuntimeFailedError) as failure,
    ):
        worker.start()
    assert failure.value.message == (
        "the process that runs tiny ended with exit code 3: two | three | four"
    )


def test_a_worker_that_hangs_is_given_up(make_artifact: Callable[..., Artifact]) -> None:
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    with (
        WorkerProcess("tiny", job(make_artifact()), command=command, timeout_s=0.5) as worker,
        pytest.raises(RuntimeFailedError, match=r"tiny gave no answer for 0\.5 s"),
    ):
        worker.start()
    assert gone([worker.pid])


def test_a_file_the_runtime_refuses(make_artifact: Callable[..., Artifact]) -> None:
    artifact = make_artifact()
    artifact.path.write_bytes(b"\x08\x09 not a model")
    with (
        WorkerProcess("tiny", job(artifact)) as worker,
        pytest.raises(RuntimeFailedError, match=r"tiny: onnxruntime cannot load tiny\.onnx"),
    ):
        worker.start()


@pytest.fixture
def same_processors() -> Iterator[None]:
    """Serving a request pins its process, which here is that of all later tests."""
    before = psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else None
    yield
    if before:
        psutil.Process().cpu_affinity(before)


@pytest.mark.usefixtures("same_processors")
def test_an_error_keeps_its_class_across_the_pipe(make_artifact: Callable[..., Artifact]) -> None:
    artifact = make_artifact()
    odd = artifact.manifest.model_copy(update={"format": "abacus"})
    request = json.dumps(asdict(job(replace(artifact, manifest=odd))))
    answers = io.StringIO()
    assert serve(io.StringIO(request + "\n"), answers) == 1
    error = json.loads(answers.getvalue())["error"]
    assert error["kind"] == "ArtifactError"
    assert "abacus" in error["message"]

    error = {"kind": "ArtifactError", "message": "two\nlines", "remedy": "look"}
    code = f"import sys; sys.stdin.readline(); print({json.dumps({'error': error})!r})"
    with (
        WorkerProcess("tiny", job(artifact), command=(sys.executable, "-c", code)) as worker,
        pytest.raises(ArtifactError, match=r"tiny: two lines\. look"),
    ):
        worker.start()


def test_what_a_runtime_prints_is_not_an_answer(make_artifact: Callable[..., Artifact]) -> None:
    code = textwrap.dedent(
        """
        import os
        from edgenext.benchmark import worker
        session = worker.WarmSession
        def noisy(job, runtime):
            print("loading ...", flush=True)
            os.write(1, b"a library in C says hello\\n")
            return session(job, runtime)
        worker.WarmSession = noisy
        raise SystemExit(worker.main())
        """
    )
    with WorkerProcess(
        "tiny", job(make_artifact()), command=(sys.executable, "-c", code)
    ) as worker:
        worker.start()
        assert worker.loaded.runtime == "onnxruntime"


def test_no_line_at_all_ends_a_worker_quietly() -> None:
    answers = io.StringIO()
    assert serve(io.StringIO(""), answers) == 0
    assert answers.getvalue() == ""


def test_the_peak_is_this_processes_own(make_artifact: Callable[..., Artifact]) -> None:
    ballast = np.ones(400 * 2**20, np.uint8)
    assert peak_rss() > ballast.nbytes
    with WorkerProcess("tiny", job(make_artifact())) as worker:
        worker.start()
        assert worker.peak_rss_mb() < 200


BENCH_FOREVER = """
import sys
from pathlib import Path
from edgenext.formats.artifact import open_artifact
from edgenext.benchmark.latency import bench_artifacts
from edgenext.options import BenchOptions
a = open_artifact(Path(sys.argv[1]))
bench_artifacts(
    [a, a], BenchOptions(threads=int(sys.argv[2]), rounds=10**6),
    lambda task, done, total: print(done, flush=True),
)
"""


@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.campaign), 2])
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(
    make_artifact: Callable[..., Artifact], ending: signal.Signals, threads: int
) -> None:
    if ending == signal.SIGKILL and threads > 1 and sys.platform != "linux":
        pytest.skip("only Linux kills a suspended process with its parent")
    command = [sys.executable, "-c", BENCH_FOREVER, str(make_artifact().path), str(threads)]
    parent = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        while int(parent.stdout.readline()) < 4:
            pass
        workers = [p.pid for p in psutil.Process(parent.pid).children(recursive=True)]
        assert len(workers) == 3
        parent.send_signal(ending)
        parent.communicate(timeout=20)
        assert parent.returncode != 0
    assert gone(workers)
