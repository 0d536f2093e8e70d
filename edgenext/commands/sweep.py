"""Every combination of models, sizes, schemes, targets, devices and seeds, each job done once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edgenext.benchmark.retry import noisy
from edgenext.commands.context import Context
from edgenext.commands.sweep_config import SweepConfig
from edgenext.commands.sweep_engine import JobFailedError, Step, Steps, SweepEngine
from edgenext.commands.sweep_plan import SweepPlan, lease_of, load_networks
from edgenext.commands.sweep_rows import MeasuredPoint, measured_row, unmeasured_row
from edgenext.commands.sweep_shards import merge
from edgenext.commands.sweep_store import SweepStore
from edgenext.commands.sweep_worker import (
    FACTS,
    QUIET_CORE,
    agreed,
    arithmetic_of,
    timing_machine,
)
from edgenext.data.pool import default_workers
from edgenext.devices.registry import find_device
from edgenext.errors import EdgenextError, OutputError, SweepFailedError, UsageError
from edgenext.formats.session import needed
from edgenext.options import THIS_CPU
from edgenext.report.sweep_table import sweep_csv, sweep_parquet
from edgenext.schema import (
    TIMED,
    MadeArtifact,
    Record,
    ShardScores,
    SweepPoint,
    SweepReport,
    SweepRow,
    TimedPair,
)
from edgenext.system.files import write_bytes, write_text
from edgenext.system.jobs.cluster import ClusterExecutor
from edgenext.system.jobs.job import Executor, JobError
from edgenext.system.jobs.local import LocalExecutor
from edgenext.system.locks import hold
from edgenext.system.temporary import remove_leftovers
from edgenext.targets.scheme import FLOAT

TABLES = ("results.parquet", "results.csv")
POINTS = "measuring points"


def sweep(
    config: SweepConfig,
    *,
    scheduler: str = "",
    workers: int | None = None,
    measure_again: bool = False,
    context: Context | None = None,
) -> SweepReport:
    """Make, evaluate and time every point of a grid; see `edgenext sweep`.

    What is in the folder already, of this sweep or of another one, is not done again. A point that
    its target refuses, or that fails, is a row that says so.

    Args:
        config: see `read_sweep`.
        scheduler: address of a Dask scheduler whose workers do the jobs; empty for this machine.
        workers: processes of this machine; None for one a processor, at most 4.
        measure_again: repeat the timings of earlier sweeps that a noisy machine made invalid.
        context: what was loaded before.

    Raises:
        UsageError: `workers` below 1 or beside a scheduler, or a device that was not added.
        CheckpointError: weights of a model that are missing or do not fit.
        DataError: images that cannot be used.
        MissingDependencyError: the extra `sweep` is not installed.
        SchedulerError: the scheduler does not answer, or its workers cannot do the jobs.
        OutputError: the folder cannot be written, or another process works in it.

    >>> settings = {"random_weights": True, "num_classes": 10, "limit": 20, "out": "sweep"}
    >>> report = sweep(read_sweep(Path("sweep.toml"), settings), workers=1)
    >>> [row.status for row in report.rows], report.files
    (['measured', 'refused'], ('results.parquet', 'results.csv'))
    """
    with needed("pyarrow", "sweep"):
        import pyarrow.parquet  # noqa: F401 - whether it can be imported
    context, store = context or Context(), SweepStore(config.out)
    with hold(config.out):
        remove_leftovers(config.out, below=True)
        with _executor(config, store, scheduler, workers) as executor:
            plan = _plan(config, context, store, executor)
            rows, engine = _measure(plan, executor, measure_again)
        write_bytes(config.out / TABLES[0], sweep_parquet(rows))
        write_text(config.out / TABLES[1], sweep_csv(rows))
    return SweepReport(
        rows=tuple(rows), done=len(engine.done), reused=len(engine.reused), files=TABLES
    )


def require_complete(report: SweepReport, *, out: Path = Path()) -> None:
    """Nothing if no point of a sweep has failed.

    Args:
        report: of `sweep`.
        out: its folder.

    Raises:
        SweepFailedError: one has; a point that its target refuses has not.

    >>> require_complete(SweepReport(rows=(), done=0, reused=0))
    """
    failed = [row for row in report.rows if row.status == "failed"]
    if failed:
        raise SweepFailedError(
            f"{len(failed)} of {len(report.rows)} points failed, the first of them: "
            f"{failed[0].error}",
            f"{out / TABLES[1]} has all; the same command tries them again",
        )


@contextmanager
def _executor(
    config: SweepConfig, store: SweepStore, scheduler: str, workers: int | None
) -> Iterator[Executor]:
    """Where the jobs are done."""
    devices = set(config.grid.device or ())
    leases = {lease_of(device) for device in devices}
    executor: Executor
    if scheduler:
        if workers is not None:
            raise UsageError("--workers are of this machine, and --scheduler has its own")
        executor = ClusterExecutor(scheduler, store.trees, leases, shared=(QUIET_CORE,))
    else:
        executor = _local(devices - {THIS_CPU}, leases, workers)
    with closing(executor):
        yield executor


def _local(devices: Collection[str], leases: Collection[str], workers: int | None) -> LocalExecutor:
    count = default_workers() if workers is None else workers
    if count < 1:
        raise UsageError(f"--workers {count} is too small", "Use at least 1")
    for device in devices:
        find_device(device)
    return LocalExecutor(count, leases)


def _plan(
    config: SweepConfig, context: Context, store: SweepStore, executor: Executor
) -> SweepPlan:
    """Everything a sweep works on, with workers that agree on what decides results."""
    answers = executor.on_each(FACTS)
    terms = agreed(answers, (str(store.trees.root.absolute()),))
    executor.agree(terms)
    return SweepPlan(
        config,
        context,
        store,
        load_networks(config, context, store),
        arithmetic_of(terms),
        timing_machine(answers) if THIS_CPU in (config.grid.device or ()) else None,
    )


def _measure(
    plan: SweepPlan, executor: Executor, measure_again: bool
) -> tuple[list[SweepRow], SweepEngine]:
    points = plan.config.points
    finished = 0

    def on_row(_: SweepRow) -> None:
        nonlocal finished
        finished += 1
        plan.context.progress(POINTS, finished, len(points))

    def is_stale(record: Record) -> bool:
        return measure_again and isinstance(record, TimedPair) and noisy(record.report)

    plan.context.progress(POINTS, 0, len(points))
    engine = SweepEngine(plan.store, executor, on_row, is_stale)
    rows = engine.run({point: _steps(plan, point) for point in points})
    return rows, engine


def _steps(plan: SweepPlan, point: SweepPoint) -> Steps:
    """A point from its file to its row, whatever happens on the way."""
    try:
        return (yield from _measured(plan, point))
    except JobFailedError as e:
        return unmeasured_row(point, e.error)
    except OutputError:
        raise
    except EdgenextError as e:
        return unmeasured_row(point, JobError.of(e))


def _measured(plan: SweepPlan, point: SweepPoint) -> Steps:
    float_point = point.model_copy(update={"scheme": FLOAT, "seed": 0})
    both = (float_point, point)
    base, record = yield [Step(plan.make_job(each), MadeArtifact) for each in both]
    jobs = plan.shard_jobs(float_point, base)
    base_shards = shards = yield [Step(job, ShardScores) for job in jobs]
    if point.scheme != FLOAT:
        jobs = plan.shard_jobs(point, record, base_shards)
        shards = yield [Step(job, ShardScores) for job in jobs]
    base_scores, scores = merge(base_shards), merge(shards)
    timed = None
    # what only an interpreter runs on a CPU has no latency
    if point.device and (point.device != THIS_CPU or scores.shards[0].evidence in TIMED):
        files = [base, record] if record.tree != base.tree else [base]
        (timed,) = yield [Step(plan.timing_job(point.device, files), TimedPair)]
    measured = MeasuredPoint(point, record, scores, base_scores, timed)
    return measured_row(measured, plan.store.artifact(record), plan.network(point).evaluation.info)
